"""How good a model is, how close to its reference, how fast, where it looks, and all of it on one page."""
