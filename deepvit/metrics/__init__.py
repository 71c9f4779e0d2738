"""Distances, paired statistics, and the bounds that they are held to."""
