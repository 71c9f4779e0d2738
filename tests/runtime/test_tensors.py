"""Batches."""

import numpy as np

from deepvit.runtime.session.tensors import padded_batch


def test_a_batch_is_padded_with_its_first_image():
    images = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3, 1, 1)
    padded = padded_batch(images, 4)
    assert padded.dtype == np.uint8
    assert padded.ravel().tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 0, 1, 2]
    assert padded_batch(images, 2) is images
    assert padded_batch(images, 1) is images
