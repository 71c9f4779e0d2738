"""Write beside a built library what it is, which whoever loads it holds it against (runtime/kernels/plugin.py).

usage: write_record.py LIBRARY KERNELS.JSON NvInferVersion.h
"""

import hashlib
import json
import pathlib
import re
import sys


def record_of(library: pathlib.Path, kernels: pathlib.Path, header: pathlib.Path) -> dict[str, object]:
    """Return the record; TensorRT-RTX's header is the one that names it."""
    text = header.read_text()
    is_rtx = "TRT_MAJOR_RTX" in text
    major = re.search(
        rf"#define {'TRT_MAJOR_RTX' if is_rtx else '(?:TRT_MAJOR_ENTERPRISE|NV_TENSORRT_MAJOR)'} (\d+)", text
    )
    if major is None:
        raise ValueError(f"{header} says no version")
    content = kernels.read_bytes()
    return {
        "schema": 1,
        "file": library.name,
        "bytes": library.stat().st_size,
        "sha256": hashlib.sha256(library.read_bytes()).hexdigest(),
        "layer": "deepvit::ReAttention/1",
        "backend": "tensorrt-rtx" if is_rtx else "tensorrt",
        "backend_major": int(major[1]),
        "kernels_sha256": hashlib.sha256(content).hexdigest(),
        "compute_capabilities": [each["compute_capability"] for each in json.loads(content)["cubins"]],
    }


if __name__ == "__main__":
    paths = [pathlib.Path(argument) for argument in sys.argv[1:]]
    try:
        paths[0].with_suffix(".json").write_text(json.dumps(record_of(*paths), indent=1) + "\n", encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"error: the library cannot be described: {error}")
