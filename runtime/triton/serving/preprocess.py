"""Triton model: encoded images → what the artifact takes."""

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb

from ...artifact.manifest import parse_manifest
from ...errors import InputError
from ...preprocess import SERVED, crop_image
from .tensors import array_from, tensor_from
from .version_folder import version_folder

INVALID_IMAGE = 4


class TritonPythonModel:
    """Inputs: image (B, N) uint8. Outputs: images as the manifest says, status (B, 1) int32."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the manifest and prove on the golden image that this machine decodes and resizes alike."""
        folder = version_folder(args)
        manifest = parse_manifest(folder / "manifest.json", (folder / "manifest.json").read_bytes())
        self._manifest = manifest
        parameters = json.loads(args["model_config"])["parameters"]
        limit = int(parameters["max_megapixels"]["string_value"])
        self._policy = dataclasses.replace(SERVED, max_megapixels=limit)
        crop = crop_image((folder / "golden.jpg").read_bytes(), manifest.preprocess, self._policy)
        got, expected = hashlib.sha256(crop.tobytes()).hexdigest(), (folder / "golden.sha256").read_text().strip()
        if got != expected:
            raise pb.TritonModelException(
                f"the golden image's crop has SHA-256 {got[:16]}…, expected {expected[:16]}…: Pillow here decodes or "
                "resizes otherwise than where the repository was made"
            )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request by itself: one that fails leaves the others as they are."""
        return [self._respond(request) for request in requests]

    def _respond(self, request: Any) -> Any:
        encoded = array_from(pb.get_input_tensor_by_name(request, "image"))
        images = np.zeros((len(encoded), *(int(size) for size in self._manifest.input.shape[1:])), self._dtype)
        status = np.zeros((len(encoded), 1), np.int32)
        fault = ""
        for row, image in enumerate(encoded):
            try:
                images[row] = self._preprocess(image)
            except InputError as error:
                status[row], fault = INVALID_IMAGE, str(error)
        if status.all():
            return pb.InferenceResponse(error=pb.TritonError(fault, pb.TritonError.INVALID_ARG))
        return pb.InferenceResponse([tensor_from(pb, "images", images), tensor_from(pb, "status", status)])

    @property
    def _dtype(self) -> type[np.generic]:
        return np.uint8 if self._manifest.preprocess.layout == "NHWC" else np.float32

    def _preprocess(self, encoded: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        crop = crop_image(encoded.tobytes(), self._manifest.preprocess, self._policy)
        return self._manifest.input_from(crop[None])[0]
