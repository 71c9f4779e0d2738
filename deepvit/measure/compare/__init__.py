"""How far a model is from its reference, without labels."""
