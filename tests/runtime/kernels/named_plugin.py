"""A plugin's library that is none, and the record beside it, for what holds the two against one another."""

import hashlib
import json

CONTENT = b"\x7fELF of a plugin"
RECORD = {
    "schema": 1,
    "file": "libplugin.so",
    "bytes": len(CONTENT),
    "sha256": hashlib.sha256(CONTENT).hexdigest(),
    "layer": "deepvit::ReAttention/1",
    "backend": "tensorrt",
    "backend_major": 11,
    "kernels_sha256": "0" * 64,
    "compute_capabilities": ["8.0", "8.6", "9.0"],
}


def write_plugin(folder, **changes):
    """Write the library into `folder`, and its record with `changes`; its path."""
    path = folder / "libplugin.so"
    path.write_bytes(CONTENT)
    path.with_suffix(".json").write_text(json.dumps(RECORD | changes))
    return path
