"""Sessions of a PyTorch module; the only file of the runtime that loads torch."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from deepvit.runtime.artifact.manifest import BatchRange, Identity, Tensor, names_or_numbers
from deepvit.runtime.errors import MissingError
from deepvit.runtime.session.tensors import Images, Logits, check_images, check_logits, split_batches


class TorchSession:
    """A module in evaluation mode: images (B, channels, H, W) float32 → logits (B, classes) float32.

    Args:
        module: The model, used as it is.
        image_shape: (channels, H, W).
        device: "cpu" or "cuda".
        largest_batch: Larger batches are split.
        classes: Number of classes, where the module does not say.
        dtype: What the module computes in; FP16 is for GPUs. There FP32 is not computed in TF32.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        image_shape: tuple[int, int, int],
        device: str = "cpu",
        largest_batch: int = 64,
        *,
        classes: int | None = None,
        dtype: Literal["float32", "float16"] = "float32",
    ) -> None:
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise MissingError(f"PyTorch {torch.__version__} sees no CUDA device; use device cpu")
        if device.startswith("cuda") and dtype == "float32":
            # Else PyTorch computes convolutions in TF32, and products where the environment asks for it. It is the
            # whole process's setting.
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.input = Tensor(name="images", shape=("batch", *image_shape), dtype="float32")
        self.batch = BatchRange(min=1, opt=min(8, largest_batch), max=largest_batch)
        self.classes = int(module.num_classes) if classes is None else classes  # type: ignore[arg-type]
        self.is_emulated = False
        self.identity: Identity | None = None
        self._device, self._dtype = torch.device(device), torch.float16 if dtype == "float16" else torch.float32
        self._module = module.eval().to(self._device, self._dtype)

    @property
    def class_names(self) -> tuple[str, ...]:
        return names_or_numbers(self.identity, self.classes)

    @property
    def description(self) -> str:
        reduced = " FP16" if self._dtype is torch.float16 else ""
        return f"PyTorch {torch.__version__} {self._device}{reduced}"

    def run(self, images: Images) -> Logits:
        """See `runtime.session.Session.run`."""
        check_images(images, self.input)
        with torch.inference_mode():
            parts = [
                self._module(torch.from_numpy(part).to(self._device, self._dtype)).float().cpu().numpy()
                for part in split_batches(images, self.batch.max)
            ]
        return check_logits(np.concatenate(parts), self.description)

    def close(self) -> None:
        """Free the module."""
        del self._module
