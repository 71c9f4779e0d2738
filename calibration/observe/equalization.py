"""What is moved out of activations before their ranges are taken."""

import enum


class Equalization(enum.Enum):
    """What is moved out of activations, exactly, before the ranges are taken."""

    SHIFT = "shift"  # what norms and GELU give is shifted, and all that gains is rescaled
    RESCALE = "rescale"
    OFF = "off"
