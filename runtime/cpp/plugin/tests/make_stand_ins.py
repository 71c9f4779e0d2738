"""Write a folder as `make kernels` does, with a line of text instead of each cubin: make_stand_ins.py KEPT.json FOLDER.

expected.txt has a line for every kernel and kind of GPU that has it or not, for the tests of what is launched.
"""

import hashlib
import json
import pathlib
import sys

kept, folder = map(pathlib.Path, sys.argv[1:])
record = json.loads(kept.read_text())
folder.mkdir(parents=True, exist_ok=True)
expected = ""
for cubin in record["cubins"]:
    target = cubin["compute_capability"]
    content = f"kernels for {target}\0".encode()
    cubin |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / cubin["file"]).write_bytes(content)
    for kernel in record["kernels"]:
        sizes = [kernel[name] for name in ("heads", "width", "tokens", "rows", "threads", "shared_bytes")]
        has = int(target in kernel["resources"])
        expected += " ".join(map(str, [*target.split("."), has, kernel["name"], kernel["number"], *sizes])) + "\n"
(folder / "expected.txt").write_text(expected)
(folder / "kernels.json").write_text(json.dumps(record, indent=1))
