"""Triton model: logits → the most probable classes.

Triton's own warm-up compares nothing. So before the first answer this model asks the one that gives it logits, wherever
that runs, for those of the golden image; where they are not the packaged ones, every request is an error.
"""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb

from .golden import Golden
from .tensors import array_from, tensor_from
from .version_folder import version_folder

WARM_UP = -1  # the status in Triton's warm-up request, during which no other model can be asked


class TritonPythonModel:
    """Inputs: logits (B, C) float32, status (B, 1) int32. Outputs: classes, probabilities, logits, status."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read which model is to be proved."""
        self._folder = version_folder(args)
        config = json.loads(args["model_config"])
        self._model, self._input, self._output = (
            config["parameters"][key]["string_value"] for key in ("model", "model_input", "model_output")
        )
        self._shown = next(int(output["dims"][0]) for output in config["output"] if output["name"] == "classes")
        self._fault: str | None = None  # not known yet; empty: there is none

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer every request by itself."""
        return [self._respond(request) for request in requests]

    def _prove(self) -> str:
        golden = Golden.load(self._folder / "golden.npz")
        request = pb.InferenceRequest(
            model_name=self._model,
            requested_output_names=[self._output],
            inputs=[tensor_from(pb, self._input, golden.images)],
            preferred_memory=pb.PreferredMemory(pb.TRITONSERVER_MEMORY_CPU),
        )
        response = request.exec()
        if response.has_error():
            return f"{self._model} fails on the golden image: {response.error().message()}"
        return golden.fault_of(array_from(pb.get_output_tensor_by_name(response, self._output)))

    def _respond(self, request: Any) -> Any:
        logits = array_from(pb.get_input_tensor_by_name(request, "logits"))
        status = array_from(pb.get_input_tensor_by_name(request, "status"))
        if self._fault is None and status[0, 0] != WARM_UP:
            self._fault = self._prove()
        if self._fault:
            return pb.InferenceResponse(error=pb.TritonError(self._fault))
        is_answered = status[:, 0] == 0
        if not np.isfinite(logits[is_answered]).all():
            return pb.InferenceResponse(
                error=pb.TritonError("the logits are not finite; the precision overflows: export in bf16 or fp32")
            )
        answer = self._classes(logits, is_answered)
        answer |= {"logits": np.where(is_answered[:, None], logits, np.float32(0)), "status": status}
        return pb.InferenceResponse([tensor_from(pb, name, array) for name, array in answer.items()])

    def _classes(
        self, logits: npt.NDArray[np.float32], is_answered: npt.NDArray[np.bool_]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return the most probable classes and their softmax; −1 and 0 for images that were not decoded."""
        order = np.argsort(-logits, axis=1, kind="stable")[:, : self._shown]
        shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        best = np.take_along_axis(shares, order, axis=1)
        return {
            "classes": np.where(is_answered[:, None], order, -1).astype(np.int32),
            "probabilities": np.where(is_answered[:, None], best, 0).astype(np.float32),
        }
