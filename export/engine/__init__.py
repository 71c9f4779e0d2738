"""Engines: what can be built here, how, and what they are made of."""
