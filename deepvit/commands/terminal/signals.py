"""Ctrl-C and SIGTERM, heard from the first line of ours on, and remembered: what they interrupt may say another thing.

A library that is interrupted while it loads says that it cannot be loaded; what is interrupted in a callback of the
interpreter is printed and forgotten.
"""

import sys

TYPE_CHECKING = False  # as typing has it, which takes as long to load as all that is needed here
if TYPE_CHECKING:
    import signal
    import types
    from typing import NoReturn
else:
    import _signal as signal  # what `signal` wraps in Enums, which take 10 ms to load: so long nobody would be heard

EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
_CODES: dict[int, int] = {signal.SIGINT: EXIT_INTERRUPTED, signal.SIGTERM: EXIT_TERMINATED}
AGAIN_S = 0.01


class _Heard:
    """The exit code of the signal that came; None before one did."""

    code: int | None = None


def listen() -> None:
    """Let both unwind what runs, so that what was staged is removed. Who started us may have Ctrl-C ignored."""
    _Heard.code = None
    for number in _CODES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _unwind)
    signal.signal(signal.SIGALRM, _unwind)
    sys.unraisablehook = _unwind_later


def deafen() -> None:
    """Let neither disturb the end: the exit code is decided."""
    for number in _CODES:
        signal.signal(number, signal.SIG_IGN)


def heard() -> int | None:
    """Return the exit code of the signal that came, whatever became of its exception."""
    return _Heard.code


def _unwind(number: int, _frame: "types.FrameType | None") -> "NoReturn":
    _Heard.code = _CODES.get(number, _Heard.code)
    if _Heard.code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    raise SystemExit(EXIT_TERMINATED)


def _unwind_later(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise again, soon, what was raised where nobody can catch it."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt | SystemExit) and _Heard.code is not None:
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
    else:
        sys.__unraisablehook__(unraisable)
