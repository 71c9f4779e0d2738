"""Forty pickles that make a file, the canary, where something unpickles them as pickle does, or that never end."""

import pathlib
import pickle
import pickletools
from collections.abc import Callable

Payload = Callable[[pathlib.Path], bytes]
FOUR = 4


def _text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + len(encoded).to_bytes(FOUR, "little") + encoded


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _call(module: str, name: str, *arguments: bytes) -> bytes:
    """GLOBAL, its arguments as a tuple, REDUCE."""
    return _global(module, name) + b"(" + b"".join(arguments) + b"tR"


def _of(build: Callable[[str], bytes], protocol: int = 2) -> Payload:
    """Return a payload that is what `build` makes of the canary's path, as a whole pickle."""
    return lambda canary: b"\x80" + bytes([protocol]) + build(str(canary)) + b"."


def _touch(path: str) -> str:
    return f"open({path!r}, 'w').close()"


def _shell(path: str) -> bytes:
    return _text(f"touch '{path}'")


CALLS: dict[str, Callable[[str], bytes]] = {
    "os.system": lambda path: _call("os", "system", _shell(path)),
    "posix.system": lambda path: _call("posix", "system", _shell(path)),
    "os.popen": lambda path: _call("os", "popen", _shell(path)),
    "os.mkdir": lambda path: _call("os", "mkdir", _text(path)),
    "os.makedirs": lambda path: _call("os", "makedirs", _text(path)),
    "os.mknod": lambda path: _call("os", "mknod", _text(path)),
    "os.symlink": lambda path: _call("os", "symlink", _text("/dev/null"), _text(path)),
    "os.mkfifo": lambda path: _call("os", "mkfifo", _text(path)),
    "subprocess.call": lambda path: _call("subprocess", "call", b"]" + b"(" + _text("touch") + _text(path) + b"e"),
    "subprocess.getoutput": lambda path: _call("subprocess", "getoutput", _shell(path)),
    "subprocess.Popen": lambda path: _call("subprocess", "Popen", b"]" + b"(" + _text("touch") + _text(path) + b"e"),
    "builtins.eval": lambda path: _call("builtins", "eval", _text(_touch(path))),
    "builtins.exec": lambda path: _call("builtins", "exec", _text(_touch(path))),
    "__builtin__.eval": lambda path: _call("__builtin__", "eval", _text(_touch(path))),
    "builtins.open": lambda path: _call("builtins", "open", _text(path), _text("w")),
    "io.open": lambda path: _call("io", "open", _text(path), _text("w")),
    "_io.FileIO": lambda path: _call("_io", "FileIO", _text(path), _text("w")),
    "codecs.open": lambda path: _call("codecs", "open", _text(path), _text("w")),
    "shutil.copyfile": lambda path: _call("shutil", "copyfile", _text("/dev/null"), _text(path)),
    "tempfile.mkdtemp": lambda path: _call("tempfile", "mkdtemp", _text(""), _text(path), _text("/")),
    "pathlib.Path.touch": lambda path: (
        _call("builtins", "getattr", _call("pathlib", "Path", _text(path)), _text("touch")) + b")R"
    ),
    "timeit.timeit": lambda path: _call("timeit", "timeit", _text(_touch(path)), _text("pass")),
    "code.InteractiveInterpreter": lambda path: (
        _call("builtins", "getattr", _call("code", "InteractiveInterpreter"), _text("runsource"))
        + b"("
        + _text(_touch(path))
        + b"tR"
    ),
    "logging.FileHandler": lambda path: _call("logging", "FileHandler", _text(path)),
    "runpy.run_path": lambda path: _call("runpy", "run_path", _text(path)),
    "zipfile.ZipFile": lambda path: _call("zipfile", "ZipFile", _text(path), _text("w")),
    "sqlite3.connect": lambda path: _call("sqlite3", "connect", _text(path)),
    "torch.serialization.open": lambda path: _call("torch.serialization", "_open_file_like", _text(path), _text("wb")),
    "torch.save": lambda path: _call("torch", "save", b"]", _text(path)),
    "torch.load": lambda path: _call("torch", "load", _text(path)),
    "numpy.save": lambda path: _call("numpy", "save", _text(path), b"]"),
    "functools.reduce": lambda path: _call(
        "functools", "reduce", _global("os", "system"), b"]" + b"(" + _shell(path) + b"e"
    ),
    "map": lambda path: _call(
        "builtins",
        "list",
        _call("builtins", "map", _global("os", "system"), b"]" + b"(" + _shell(path) + b"e"),
    ),
    "INST": lambda path: b"(" + _shell(path) + b"ios\nsystem\n",
    "OBJ": lambda path: b"(" + _global("os", "system") + _shell(path) + b"o",
    "BUILD of a Namespace": lambda path: (
        _global("argparse", "Namespace") + b")\x81" + _call("os", "system", _shell(path)) + b"b"
    ),
    "APPEND": lambda path: b"]" + _call("os", "system", _shell(path)) + b"a",
    "dict key": lambda path: b"}" + _call("os", "mknod", _text(path)) + b"K\x01s",
}


def _stack_global(canary: pathlib.Path) -> bytes:
    body = _text("os") + _text("system") + b"\x93(" + _shell(str(canary)) + b"tR."
    return b"\x80\x04" + body


class _Reduced:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return exec, (_touch(self.path),)


def _as_pickle_writes(canary: pathlib.Path) -> bytes:
    return pickletools.optimize(pickle.dumps({"state_dict": _Reduced(str(canary))}, protocol=4))


def _tuples_of_tuples(canary: pathlib.Path) -> bytes:
    """The key of a dict whose hash takes 2^64 steps; makes no canary, only never ends."""
    body = b")q\x00" + b"".join(b"h" + bytes([n]) + b"h" + bytes([n]) + b"\x86q" + bytes([n + 1]) for n in range(64))
    return b"\x80\x02}" + body + _text(str(canary)) + b"s."


PAYLOADS: tuple[tuple[str, Payload], ...] = (
    *((name, _of(build)) for name, build in CALLS.items()),
    ("STACK_GLOBAL", _stack_global),
    ("as pickle writes it", _as_pickle_writes),
    ("tuples of tuples", _tuples_of_tuples),
)
