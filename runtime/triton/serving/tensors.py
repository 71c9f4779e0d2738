"""Arrays into and out of Triton's Python backend, by DLPack.

The backend's own conversions give wrong values where the numpy that it was built with is of another major version than
the environment's; DLPack is exact with every version. It has no strings, hence images travel as uint8.
"""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

_USED = b"used_dltensor"  # DLPack's name for a capsule that was taken over; the bytes must outlive every capsule
_set_name = ctypes.pythonapi.PyCapsule_SetName
_set_name.argtypes, _set_name.restype = (ctypes.py_object, ctypes.c_char_p), ctypes.c_int


def array_from(tensor: Any) -> npt.NDArray[Any]:
    """Return a tensor of the Python backend as an array that shares its memory; read it while the request lives."""
    return np.from_dlpack(tensor)


def tensor_from(pb: Any, name: str, array: npt.NDArray[Any]) -> Any:
    """Return `array` as a tensor of the Python backend, `pb` being triton_python_backend_utils."""
    capsule = np.require(array, requirements=["C", "W"]).__dlpack__()  # DLPack cannot say that memory is read-only
    tensor = pb.Tensor.from_dlpack(name, capsule)
    # The backend gives the capsule a name of its own, of which numpy then complains on stderr at every request.
    _set_name(capsule, _USED)
    return tensor
