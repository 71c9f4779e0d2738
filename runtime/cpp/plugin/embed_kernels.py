"""Write what `make kernels` made as a source of C++: the table of kernels, and their machine code as it is.

usage: embed_kernels.py FOLDER OUTPUT. Every cubin must be what FOLDER/kernels.json says of it.
"""

import hashlib
import json
import pathlib
import sys
from typing import Any

HEAD = """// Written by embed_kernels.py.
#include "kernels.h"

"""
INCLUDED = """__asm__(
    ".pushsection .rodata\\n.balign 64\\n.local reattention_cubin_{number}\\n"
    "reattention_cubin_{number}:\\n.incbin \\"{path}\\"\\n.popsection\\n");
extern "C" __attribute__((visibility("hidden"))) const unsigned char reattention_cubin_{number}[];
"""


def source_of(folder: pathlib.Path) -> str:
    """Return the source; raises ValueError of a cubin that is not what the manifest says."""
    text = (folder / "kernels.json").read_bytes()
    record = json.loads(text)
    included, cubins = [], []
    for number, cubin in enumerate(record["cubins"]):
        path = (folder / cubin["file"]).resolve()
        if (found := hashlib.sha256(path.read_bytes()).hexdigest()) != cubin["sha256"]:
            raise ValueError(f"{path} has SHA-256 {found}, kernels.json says {cubin['sha256']}; run `make kernels`")
        included.append(INCLUDED.format(number=number, path=path))
        major, minor = cubin["compute_capability"].split(".")
        cubins.append(f"    {{{major}, {minor}, reattention_cubin_{number}}},\n")
    targets = [cubin["compute_capability"] for cubin in record["cubins"]]
    kernels = sorted(record["kernels"], key=lambda kernel: kernel["rows"])
    rows = "".join(f"    {row_of(kernel, targets)},\n" for kernel in kernels)
    return (
        HEAD + "".join(included) + "namespace reattention {\n\n"
        f'const char* const kKernelsSha256 = "{hashlib.sha256(text).hexdigest()}";\n'
        f"const std::vector<Cubin> kCubins = {{\n{''.join(cubins)}}};\n"
        f"const std::vector<Kernel> kKernels = {{\n{rows}}};\n\n}}  // namespace reattention\n"
    )


def row_of(kernel: dict[str, Any], targets: list[str]) -> str:
    """Return a kernel as C++ writes it."""
    is_bf16 = "true" if kernel["number"] == "bf16" else "false"
    sizes = (kernel[name] for name in ("heads", "width", "tokens", "rows", "threads", "shared_bytes"))
    bits = sum(1 << number for number, target in enumerate(targets) if target in kernel["resources"])
    return f'{{"{kernel["name"]}", {is_bf16}, {", ".join(map(str, sizes))}, {bits}}}'


if __name__ == "__main__":
    try:
        pathlib.Path(sys.argv[2]).write_text(source_of(pathlib.Path(sys.argv[1])), encoding="utf-8")
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"error: kernels cannot be embedded: {error}")
