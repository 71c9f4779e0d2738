"""The C++ runtime as Python calls it, for loops that are timed beside Python's own: a thin layer of ctypes."""

import ctypes
import pathlib

import numpy as np
import numpy.typing as npt

LIBRARY = pathlib.Path(__file__).resolve().parents[1] / "build" / "cpp" / "libdeepvit.so"


class Options(ctypes.Structure):
    """deepvit_options."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        *(
            (name, ctypes.c_int32)
            for name in ("backend", "threads", "contexts", "device", "allow_host_code", "reserved")
        ),
        *((name, ctypes.c_char_p) for name in ("onnxruntime_library", "tensorrt_library", "cuda_library")),
        ("log", ctypes.c_void_p),
        ("log_user_data", ctypes.c_void_p),
    )


class Encoded(ctypes.Structure):
    """deepvit_bytes."""

    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t))


class CModel:
    """An artifact opened by libdeepvit; `classes` is the number of its logits."""

    def __init__(self, artifact: pathlib.Path, onnxruntime_library: pathlib.Path, classes: int) -> None:
        self._library = ctypes.CDLL(str(LIBRARY))
        self._library.deepvit_last_error.restype = ctypes.c_char_p
        self._library.deepvit_close.restype = None
        self.classes = classes
        options = Options(struct_size=ctypes.sizeof(Options), onnxruntime_library=str(onnxruntime_library).encode())
        self._model = ctypes.c_void_p()
        self._check(
            self._library.deepvit_open(str(artifact).encode(), ctypes.byref(options), ctypes.byref(self._model))
        )

    def classify(self, encoded: bytes) -> npt.NDArray[np.float32]:
        """Return the logits of one JPEG or PNG."""
        logits = np.empty(self.classes, np.float32)
        image = Encoded(encoded, len(encoded))
        address = logits.ctypes.data_as(ctypes.c_void_p)
        self._check(
            self._library.deepvit_classify_encoded(
                self._model, ctypes.byref(image), ctypes.c_size_t(1), address, ctypes.c_size_t(logits.size), None
            )
        )
        return logits

    def _check(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(f"status {status}: {self._library.deepvit_last_error().decode()}")

    def close(self) -> None:
        """Free the model."""
        self._library.deepvit_close(self._model)
