"""TensorRT's log: one logger of a library for the life of the process, and what it heard, by thread."""

import ctypes
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorrt

logger = logging.getLogger(__name__)
OUR_LAYERS = "deepvit::"  # how their own lines begin (cpp/plugin/log.cpp)


class _ThreadErrors(threading.local):
    newest: str | None = None


class Errors:
    """What TensorRT said went wrong: the newest of each thread, and of all, since TensorRT has threads of its own."""

    def __init__(self) -> None:
        self._here = _ThreadErrors()
        self.newest_anywhere = ""

    def add(self, message: str) -> None:
        if (self._here.newest or "").startswith(OUR_LAYERS):
            return  # TensorRT goes on to say that a layer failed, which has said why
        self._here.newest = self.newest_anywhere = message

    def take(self) -> str | None:
        """Return this thread's newest since the last time, and forget it."""
        newest, self._here.newest = self._here.newest, None
        return newest


_loggers: dict[type, "tensorrt.ILogger"] = {}  # by the library's class of loggers
_making = threading.Lock()


def logger_of_process(trt: Any, name: str) -> "tensorrt.ILogger":
    """Return a library's one logger, which hands warnings to this package's log and keeps errors in `errors`.

    TensorRT keeps the first logger that it is given, by address, and goes on writing to it: it is never freed.

    Args:
        trt: The library.
        name: What this package's log calls it.
    """
    with _making:
        if trt.ILogger not in _loggers:
            _loggers[trt.ILogger] = log = _new_logger(trt, name)
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(log))  # outlives this module when the process ends
        return _loggers[trt.ILogger]


def _nobody(message: str) -> None:
    pass


def _new_logger(trt: Any, name: str) -> "tensorrt.ILogger":
    class Log(trt.ILogger):  # type: ignore[misc]  # the base is known at run time only
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors = Errors()
            self.listen: Callable[[str], None] = _nobody  # is told everything, verbose messages too

        def log(self, severity: Any, message: str) -> None:
            self.listen(message)
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                self.errors.add(message)
            elif severity == trt.ILogger.WARNING:
                logger.info("%s: %s", name, message)

    return Log()


def refusal(what: str, log: Any) -> str:
    """Return in words that TensorRT could not do `what`, with the reason that it gave in this thread."""
    why, elsewhere = log.errors.take(), log.errors.newest_anywhere
    if why is not None:
        return f"TensorRT could not {what}: {why}"
    last = f"; what it said last, of whatever call: {elsewhere}" if elsewhere else ""
    return f"TensorRT could not {what}, and TensorRT does not say why{last}"
