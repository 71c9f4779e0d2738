"""The C++ runtime as Python calls it, for loops that are timed beside Python's own: a thin layer of ctypes."""

import ctypes
import pathlib

import numpy as np
import numpy.typing as npt

LIBRARY = pathlib.Path(__file__).resolve().parents[2] / "build" / "cpp" / "libdeepvit.so"


class Options(ctypes.Structure):
    """deepvit_options."""

    _fields_ = (
        ("struct_size", ctypes.c_size_t),
        *(
            (name, ctypes.c_int32)
            for name in ("backend", "threads", "contexts", "device", "allow_host_code", "max_megapixels")
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
        self.library = ctypes.CDLL(str(LIBRARY))
        self.library.deepvit_last_error.restype = ctypes.c_char_p
        self.library.deepvit_close.restype = None
        self.classes = classes
        options = Options(struct_size=ctypes.sizeof(Options), onnxruntime_library=str(onnxruntime_library).encode())
        self.handle = ctypes.c_void_p()
        self._check(self.library.deepvit_open(str(artifact).encode(), ctypes.byref(options), ctypes.byref(self.handle)))

    def classify(self, encoded: bytes) -> npt.NDArray[np.float32]:
        """Return the logits of one JPEG or PNG."""
        status, logits = self.try_classify(encoded)
        self._check(status)
        return logits

    def try_classify(self, encoded: bytes) -> tuple[int, npt.NDArray[np.float32]]:
        """Return the status and the logits of one image."""
        return self.classify_all([encoded])[0]

    def classify_all(self, encoded: list[bytes]) -> list[tuple[int, npt.NDArray[np.float32]]]:
        """Return the status and the logits of each image, which are classified in one call."""
        logits = np.empty((len(encoded), self.classes), np.float32)
        statuses = (ctypes.c_int32 * len(encoded))()
        images = (Encoded * len(encoded))(*((each, len(each)) for each in encoded))
        address = logits.ctypes.data_as(ctypes.c_void_p)
        self.library.deepvit_classify_encoded(
            self.handle, images, ctypes.c_size_t(len(encoded)), address, ctypes.c_size_t(logits.size), statuses
        )
        return list(zip(statuses, logits, strict=True))

    def _check(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(f"status {status}: {self.library.deepvit_last_error().decode()}")

    def close(self) -> None:
        """Free the model."""
        self.library.deepvit_close(self.handle)
