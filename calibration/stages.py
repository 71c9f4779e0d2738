"""What calibration does, stage by stage, in the words that it reports and that a plan lists."""

RESCALING = "rescaling, proved in float64"


def choosing(images: int) -> str:
    return f"choosing {images} calibration images"


def extremes(images: int) -> str:
    return f"calibrating on {images} images: extremes"


def extremes_of_attention(images: int) -> str:
    return f"calibrating on {images} images: extremes of attention"


def histograms(images: int) -> str:
    return f"calibrating on {images} images: histograms"
