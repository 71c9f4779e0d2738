"""Triton model: the artifact, run by the runtime that was packaged with it."""

import os
from typing import Any

import numpy as np
import triton_python_backend_utils as pb

from ...artifact import open_artifact
from ...artifact.manifest import Precision
from ...errors import OutOfBoundsError
from ...kernels.plugin_record import VARIABLE
from ...opening import open_session
from ...ort.arithmetic import Arithmetic
from .golden import Golden
from .tensors import array_from, tensor_from
from .version_folder import version_folder


class TritonPythonModel:
    """Input and output as the artifact's manifest names them."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the artifact, whose hashes are checked, and prove that it gives the golden logits."""
        folder = version_folder(args)
        manifest = open_artifact(folder / "artifact").manifest
        self._input, self._output = manifest.input.name, manifest.output.name
        # A CPU computes in BF16 only where it is asked to round to it.
        is_bf16 = manifest.precision is Precision.BF16
        arithmetic = Arithmetic.AS_DECLARED if is_bf16 else Arithmetic.NATIVE
        plugin = folder / "libdeepvit_reattention.so"  # packaged where its engine needs it
        if plugin.exists():
            os.environ.setdefault(VARIABLE, str(plugin))
        # 0 too where config.pbtxt puts the instance on a CPU; an engine then runs there all the same.
        device = int(args.get("model_instance_device_id", "0"))
        self._session = open_session(folder / "artifact", arithmetic=arithmetic, device=device)
        golden = Golden.load(folder / "golden.npz")
        fault = golden.fault_of(self._session.run(golden.images))
        if fault:
            raise pb.TritonModelException(fault)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Run the requests that Triton handed over as one batch."""
        parts = [array_from(pb.get_input_tensor_by_name(request, self._input)) for request in requests]
        try:
            logits = self._session.run(np.concatenate(parts))
        except OutOfBoundsError:
            return [self._respond_alone(part) for part in parts]
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return [self._response(rows) for rows in np.split(logits, ends)]

    def _respond_alone(self, images: Any) -> Any:
        """Answer one request, so that only those that are to blame fail."""
        try:
            return self._response(self._session.run(images))
        except OutOfBoundsError as error:
            return pb.InferenceResponse(error=pb.TritonError(str(error)))

    def _response(self, logits: Any) -> Any:
        return pb.InferenceResponse([tensor_from(pb, self._output, logits)])

    def finalize(self) -> None:
        """Free the session."""
        self._session.close()
