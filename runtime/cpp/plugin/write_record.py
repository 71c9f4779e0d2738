"""Write beside a built library what it is, which whoever loads it holds it against (runtime/trt/plugin.py).

usage: write_record.py LIBRARY KERNELS.JSON HEADER, which is NvInferVersion.h or onnxruntime_c_api.h
"""

import hashlib
import json
import pathlib
import re
import sys

# Of TensorRT-RTX's header both could be said; of ONNX Runtime it is the version of its interface.
VERSIONS = {
    "tensorrt-rtx": "TRT_MAJOR_RTX",
    "tensorrt": "TRT_MAJOR_ENTERPRISE|NV_TENSORRT_MAJOR",
    "onnxruntime": "ORT_API_VERSION",
}


def record_of(library: pathlib.Path, kernels: pathlib.Path, header: pathlib.Path) -> dict[str, object]:
    """Return the record, for the library whose version the header says first."""
    text = header.read_text()
    versions = {backend: re.search(rf"#define (?:{name}) (\d+)", text) for backend, name in VERSIONS.items()}
    backend, major = next(((backend, found[1]) for backend, found in versions.items() if found), (None, None))
    if major is None:
        raise ValueError(f"{header} says no version")
    content = kernels.read_bytes()
    return {
        "schema": 1,
        "file": library.name,
        "bytes": library.stat().st_size,
        "sha256": hashlib.sha256(library.read_bytes()).hexdigest(),
        "layer": "deepvit::ReAttention/1",
        "backend": backend,
        "backend_major": int(major),
        "kernels_sha256": hashlib.sha256(content).hexdigest(),
        "compute_capabilities": [each["compute_capability"] for each in json.loads(content)["cubins"]],
    }


if __name__ == "__main__":
    paths = [pathlib.Path(argument) for argument in sys.argv[1:]]
    try:
        paths[0].with_suffix(".json").write_text(json.dumps(record_of(*paths), indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"error: the library cannot be described: {error}")
