"""What models are timed on: pictures, since what was calibrated on photographs is far off on noise."""

import numpy as np

from deepvit.runtime.preprocess import Preprocessing, golden_image, model_input, resize_and_crop
from deepvit.runtime.session import Session
from deepvit.runtime.session.tensors import Images

USUAL_SIDE = 224  # of a model that says none


def preprocessing_of(side: int, layout: str = "NCHW") -> Preprocessing:
    """Return how pictures are made for all models that take the same input, whatever their own mean and std are."""
    half = (0.5, 0.5, 0.5)
    return Preprocessing.model_validate(
        {"resize": side, "crop": side, "interpolation": "bilinear", "mean": half, "std": half, "layout": layout}
    )


def pictures(session: Session, batch: int) -> Images:
    """Return the golden image as `session` takes it, each of a batch moved aside; for one input the same always."""
    is_bytes = session.input.dtype == "uint8"
    side = session.input.shape[1 if is_bytes else 2]
    preprocessing = preprocessing_of(side if isinstance(side, int) else USUAL_SIDE, "NHWC" if is_bytes else "NCHW")
    crop = resize_and_crop(golden_image(preprocessing.crop), preprocessing)
    crops = np.stack([np.roll(crop, number, axis=1) for number in range(batch)])
    channels = session.input.shape[1]
    return model_input(crops, preprocessing, channels if isinstance(channels, int) else 3)
