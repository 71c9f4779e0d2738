"""Every kernel of the table as cubins, one for each kind of GPU, with a manifest that says how to launch them."""

import concurrent.futures
import dataclasses
import hashlib
import json
import pathlib
import re
from collections.abc import Iterable

from .table import KERNELS, Kernel

SOURCES = pathlib.Path(__file__).with_name("cuda")
MANIFEST = "kernels.json"
# Compute capability → most bytes of shared memory that a block may have. Source: CUDA C++ Programming Guide, "Technical
# specifications per compute capability". A cubin also serves later GPUs of the same major version.
TARGETS = {"8.0": 166912, "8.6": 101376, "8.9": 101376, "9.0": 232448, "10.0": 232448, "12.0": 101376}
OPTIONS = ("--std=c++17", "--ptxas-options=-v")


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a thread of a kernel has on one kind of GPU, as the assembler says."""

    registers: int
    spill_store_bytes: int
    spill_load_bytes: int


@dataclasses.dataclass(frozen=True)
class Cubin:
    """Kernels for one kind of GPU: those whose shared memory it has."""

    compute_capability: str
    content: bytes
    resources: dict[str, Resources]  # by the kernel's name

    @property
    def file(self) -> str:
        return f"reattention.sm_{self.compute_capability.replace('.', '')}.cubin"


def sources() -> dict[str, str]:
    """Return the text of every source by its name."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(SOURCES.glob("*.cuh"))}


def sources_sha256() -> str:
    """Return a hash of everything that is compiled."""
    text = json.dumps([sources(), [each.definition for each in KERNELS]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def target_for(compute_capability: str) -> str | None:
    """Return whose cubin a GPU of this compute capability runs; None where there is none."""
    own = _numbers(compute_capability)
    fitting = [each for each in TARGETS if _numbers(each)[0] == own[0] and _numbers(each) <= own]
    return max(fitting, key=_numbers, default=None)


def _numbers(compute_capability: str) -> tuple[int, ...]:
    return tuple(int(each) for each in compute_capability.split("."))


def cubin_for(compute_capability: str, kernels: Iterable[Kernel] = KERNELS) -> Cubin:
    """Compile the kernels that fit on GPUs of this compute capability.

    Raises:
        MissingError: There is no NVRTC.
    """
    from .nvrtc import compiled

    fitting = [each for each in kernels if each.shared_bytes <= TARGETS[compute_capability]]
    code = '#include "reattention.cuh"\n' + "".join(f"{each.definition}\n" for each in fitting)
    target = f"--gpu-architecture=sm_{compute_capability.replace('.', '')}"
    content, said = compiled(code, sources(), [target, *OPTIONS])
    return Cubin(compute_capability, content, {each.name: resources_in(said, each.name) for each in fitting})


def resources_in(log: str, name: str) -> Resources:
    """Return what the assembler said of a kernel."""
    spilled = re.search(
        rf"Function properties for {name}\n.* (\d+) bytes spill stores, (\d+) bytes spill loads\n"
        r".*: Used (\d+) registers",
        log,
    )
    if not spilled:
        raise RuntimeError(f"the assembler says nothing of {name}: {log}")
    stores, loads, registers = map(int, spilled.groups())
    return Resources(registers, stores, loads)


def write_cubins(folder: pathlib.Path, workers: int, targets: Iterable[str] = TARGETS) -> list[Cubin]:
    """Write the cubins and their manifest into `folder`; the same sources and NVRTC give the same bytes.

    Raises:
        MissingError: There is no NVRTC.
    """
    from .nvrtc import nvrtc_version

    nvrtc_version()  # or there is none
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        cubins = list(pool.map(cubin_for, targets))
    folder.mkdir(parents=True, exist_ok=True)
    for cubin in cubins:
        (folder / cubin.file).write_bytes(cubin.content)
    (folder / MANIFEST).write_text(manifest_of(cubins), encoding="utf-8")
    return cubins


def manifest_of(cubins: Iterable[Cubin]) -> str:
    """Return what there is and from what: sources, options, cubins by GPU, and every kernel with its launch."""
    from .nvrtc import nvrtc_version

    cubins = list(cubins)
    record = {
        "schema": 1,
        "sources_sha256": sources_sha256(),
        "nvrtc": nvrtc_version(),
        "options": list(OPTIONS),
        "cubins": [
            {
                "compute_capability": each.compute_capability,
                "file": each.file,
                "bytes": len(each.content),
                "sha256": hashlib.sha256(each.content).hexdigest(),
            }
            for each in cubins
        ],
        "kernels": [_launch(each) | {"resources": _by_capability(cubins, each)} for each in KERNELS],
    }
    return json.dumps(record, indent=1) + "\n"


def _launch(kernel: Kernel) -> dict[str, object]:
    """Return what chooses a kernel and launches it: a grid of ⌈queries / rows⌉ by batch."""
    own = dataclasses.asdict(kernel) | {"number": kernel.number.name.lower()}
    return {"name": kernel.name, **own, "threads": kernel.threads, "shared_bytes": kernel.shared_bytes}


def _by_capability(cubins: Iterable[Cubin], kernel: Kernel) -> dict[str, dict[str, int]]:
    return {
        each.compute_capability: dataclasses.asdict(each.resources[kernel.name])
        for each in cubins
        if kernel.name in each.resources
    }
