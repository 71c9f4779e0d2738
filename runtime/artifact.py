"""The artifact folder: its manifest, how it is written as a whole or not at all, and how it is opened verified."""

import collections.abc
import contextlib
import ctypes
import enum
import errno
import hashlib
import os
import pathlib
import re
import shutil
import tempfile
from typing import Annotated, Literal

import pydantic

from runtime.errors import InputError, MissingError
from runtime.preprocess import Preprocessing

MANIFEST = "manifest.json"
MODEL = "model.onnx"
MAX_MANIFEST_BYTES = 1 << 20
Sha256 = Annotated[str, pydantic.Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$")]
PositiveInt = Annotated[int, pydantic.Field(ge=1)]


class _Record(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Weights(_Record):
    """Where the weights come from; `sha256` is the checkpoint file's, or the random state dict's."""

    source: Literal["checkpoint", "random"]
    sha256: Sha256
    entry: str | None = None  # which entry of the checkpoint: state_dict_ema, state_dict, …
    seed: int | None = None  # of random weights


class Tensor(_Record):
    """One graph input or output; a string in `shape` is a dynamic dimension."""

    name: str
    shape: tuple[PositiveInt | str, ...]
    dtype: Literal["float32", "uint8"]


class BatchRange(_Record):
    """Batch sizes that the artifact takes, and the one that engines are tuned for."""

    min: PositiveInt
    opt: PositiveInt
    max: PositiveInt

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "BatchRange":
        if not self.min <= self.opt <= self.max:
            raise ValueError(f"expected min ≤ opt ≤ max, got {self.min}:{self.opt}:{self.max}")
        return self


ANY_BATCH = BatchRange(min=1, opt=8, max=64)  # where no manifest says otherwise


class FoldRecord(_Record):
    """One exact rewrite: in how many modules, and the largest entries that it wrote."""

    name: str
    applied: int
    max_abs_weight: float
    max_abs_bias: float


class ParityStage(_Record):
    """One rung of the parity ladder: how far `stage` is from `against` on so many images."""

    stage: str
    against: str
    max_abs: float
    sqnr_db: float | None  # None: no difference at all
    top1_agreement: float  # in [0, 1]
    images: PositiveInt
    top1_enforced: bool = True  # False with random weights, whose top-1 is decided by rounding


class Calibration(_Record):
    """What quantisation ranges came from."""

    method: str
    images: PositiveInt
    list_sha256: Sha256
    ranges_sha256: Sha256


class HardwareCompatibility(enum.Enum):
    """On which GPUs an engine runs, as TensorRT's levels have it."""

    NONE = "none"  # those of its compute capability, best the very model
    SAME_COMPUTE_CAPABILITY = "same-compute-capability"  # every model of its compute capability
    AMPERE_PLUS = "ampere-plus"  # compute capability 8.0 and newer


class Census(_Record):
    """How many layers of which type and data type: "MATRIX_MULTIPLY HALF": 225."""

    network: dict[str, int]  # as parsed, before the build
    engine: dict[str, int] | None = None  # as built, by the engine inspector; None where no GPU could load it
    gemms_attributed: int | None = None  # how many of the network's GEMMs and convolutions the inspector names


class Engine(_Record):
    """One engine, where it can run, and what is in it."""

    file: FileName
    backend: Literal["tensorrt", "tensorrt-rtx"]
    version: Annotated[str, pydantic.Field(pattern=r"^[0-9]+(\.[0-9]+)+")]
    compute_capability: Annotated[str, pydantic.Field(pattern=r"^[0-9]+\.[0-9](,[0-9]+\.[0-9])*$")]
    gpu: str | None  # the GPU that it was tuned on; None where it was built without one
    driver: str | None
    profile: BatchRange
    census: Census
    hardware_compatible: HardwareCompatibility = HardwareCompatibility.NONE
    version_compatible: bool = False  # loads in later TensorRT versions of the same major, by host code in the plan
    weight_stripped: bool = False  # its weights come from model.onnx when it is loaded
    options: dict[str, int] = {}  # workspace_bytes, optimization_level


class FileRecord(_Record):
    """Size and hash of one file of the artifact."""

    bytes: Annotated[int, pydantic.Field(ge=0)]
    sha256: Sha256


class Manifest(_Record):
    """manifest.json, schema 1."""

    # `schema` itself is taken by pydantic; the JSON says "schema".
    schema_version: Annotated[Literal[1], pydantic.Field(alias="schema")] = 1
    variant: str
    classes: PositiveInt
    weights: Weights
    precision: Literal["fp32", "fp16", "bf16", "int8", "fp8"]
    input: Tensor
    output: Tensor
    batch: BatchRange
    preprocess: Preprocessing
    folds: tuple[FoldRecord, ...]
    graph: dict[str, str | int] = {}  # opset and the form that the graph was written in
    parity: tuple[ParityStage, ...]
    largest_activation: dict[str, float] = {}  # of fp16 and bf16 graphs: tensor → max |x| on the parity images
    calibration: Calibration | None = None
    engines: tuple[Engine, ...] = ()
    files: dict[FileName, FileRecord]
    tools: dict[str, str]

    @property
    def has_random_weights(self) -> bool:
        return self.weights.source == "random"

    def to_json(self) -> str:
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


class Artifact:
    """An opened artifact: the folder and its valid manifest. Files are verified as they are read."""

    def __init__(self, folder: pathlib.Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest

    def engine(self, name: str) -> Engine:
        """Return the record of plan `name`.

        Raises:
            InputError: The manifest has none.
        """
        for engine in self.manifest.engines:
            if engine.file == name:
                return engine
        raise InputError(f"{self.folder / MANIFEST} has no engine {name}; build it: python cli.py build {self.folder}")

    def read(self, name: str) -> bytes:
        """Return the bytes of file `name`, which are those whose hash was checked.

        Raises:
            InputError: Not part of the artifact, missing, or not the bytes that were exported.
        """
        path, record = self.folder / name, self.manifest.files.get(name)
        if record is None:
            raise InputError(f"{path} is not part of the artifact; it holds {', '.join(sorted(self.manifest.files))}")
        try:
            size = path.stat().st_size
            content = path.read_bytes() if size == record.bytes else b""
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}; export again") from error
        if size != record.bytes:
            raise InputError(f"{path} has {size} bytes, expected {record.bytes} by its manifest; export again")
        got = hashlib.sha256(content).hexdigest()
        if got != record.sha256:
            raise InputError(
                f"{path} has SHA-256 {got[:16]}…, expected {record.sha256[:16]}… by its manifest; it is not what was "
                "exported: export again"
            )
        return content


def open_artifact(folder: pathlib.Path) -> Artifact:
    """Open an artifact folder by its manifest.

    Raises:
        InputError: No folder, or no valid manifest in it.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"artifact {folder} does not exist; export one: python cli.py export deepvit_32 --fp16")
    try:
        size = path.stat().st_size
        text = path.read_bytes() if size <= MAX_MANIFEST_BYTES else b""
    except OSError as error:
        raise InputError(f"{folder} is not an artifact: no readable {MANIFEST} ({error.strerror})") from error
    if size > MAX_MANIFEST_BYTES:
        raise InputError(f"{path} has {size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}")
    return Artifact(folder, parse_manifest(path, text))


def parse_manifest(path: pathlib.Path, text: bytes) -> Manifest:
    """Parse manifest.json, all of its faults as one InputError."""
    try:
        return Manifest.model_validate_json(text)
    except pydantic.ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        shown = "; ".join(faults[:5]) + (f" and {len(faults) - 5} more" if len(faults) > 5 else "")
        raise InputError(f"{path} is not a valid manifest (schema 1): {shown}") from error


def record_files(folder: pathlib.Path) -> dict[str, FileRecord]:
    """Return size and hash of every file in `folder` but the manifest."""
    return {path.name: record_file(path) for path in sorted(folder.iterdir()) if path.name != MANIFEST}


def record_file(path: pathlib.Path) -> FileRecord:
    """Return size and hash of one file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileRecord(bytes=path.stat().st_size, sha256=digest)


@contextlib.contextmanager
def staged_artifact(output: pathlib.Path) -> collections.abc.Iterator[pathlib.Path]:
    """Give a folder to write an artifact into, which becomes `output` in one step when the block ends well.

    A process killed at any moment leaves `output` as it was; what it had staged beside it is removed by the next
    export to the same place. An earlier artifact at `output` is exchanged for the new one, nothing else is replaced.

    Raises:
        InputError: `output` cannot be written, or is something else than an artifact.
        MissingError: The disk is full.
    """
    output = pathlib.Path(os.path.abspath(output))
    _refuse_foreign(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(output)
        staging = pathlib.Path(tempfile.mkdtemp(prefix=f".{output.name}.{os.getpid()}.", dir=output.parent))
    except OSError as error:
        raise _write_error(output, error) from error
    try:
        yield staging
        if not (staging / MANIFEST).is_file():
            raise AssertionError("an artifact was staged without its manifest")
        staging.chmod(0o777 & ~_umask())
        _sync(staging)
        _exchange(staging, output)
    except OSError as error:
        raise _write_error(output, error) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _refuse_foreign(output: pathlib.Path) -> None:
    if output.is_dir():
        if any(output.iterdir()) and not (output / MANIFEST).is_file():
            raise InputError(f"{output} is a folder of something else; name another one with --output")
    elif output.exists() or output.is_symlink():
        raise InputError(f"{output} is not a folder; name another one with --output")


def _remove_leftovers(output: pathlib.Path) -> None:
    """Remove what killed exports to the same place left staged."""
    pattern = re.compile(rf"\.{re.escape(output.name)}\.(\d+)\.[a-z0-9_]{{8}}")
    for path in output.parent.iterdir():
        match = pattern.fullmatch(path.name)
        if match and path.is_dir() and not _is_running(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync(folder: pathlib.Path) -> None:
    for path in (*folder.iterdir(), folder):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _exchange(staging: pathlib.Path, output: pathlib.Path) -> None:
    """Put `staging` in the place of `output`; an artifact that is there ends up at `staging`, to be removed."""
    if not output.exists() or not any(output.iterdir()):
        staging.rename(output)
        return
    exchange_flag, at_cwd = 2, -100  # RENAME_EXCHANGE and AT_FDCWD of Linux
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 and renameat2(at_cwd, os.fsencode(staging), at_cwd, os.fsencode(output), exchange_flag) == 0:
        return
    # A file system without exchange: two renames, between which a kill leaves the old artifact under its staged name.
    old = staging.with_name(staging.name + ".old")
    output.rename(old)
    staging.rename(output)
    shutil.rmtree(old, ignore_errors=True)


def _write_error(output: pathlib.Path, error: OSError) -> InputError | MissingError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MissingError(f"no room on the disk to write {output}; free some or name another place with --output")
    return InputError(f"{output} cannot be written: {error.strerror or error}; name another place with --output")
