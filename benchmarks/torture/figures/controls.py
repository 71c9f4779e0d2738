"""Faults planted for the harness itself: what every kind of trial must see, whatever it tries."""

import os
import signal
import time
from collections.abc import Callable

from ..figure import Case
from ..trial import Result, run_forked


def _fail() -> None:
    raise ValueError("a fault that was planted")


def _crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def _hang() -> None:
    time.sleep(60)


def _swallow() -> None:
    bytearray(1 << 31)


def _forked(function: Callable[[], None], case: Case) -> Result:
    ended = run_forked(function, case.folder / "log", seconds=2, more_bytes=1 << 30)
    return Result(ended.label, ended.fault())


def fails_internally(case: Case) -> Result:
    return _forked(_fail, case)


def crashes(case: Case) -> Result:
    return _forked(_crash, case)


def hangs(case: Case) -> Result:
    return _forked(_hang, case)


def takes_too_much(case: Case) -> Result:
    return _forked(_swallow, case)


GENERAL = (fails_internally, crashes, hangs, takes_too_much)
