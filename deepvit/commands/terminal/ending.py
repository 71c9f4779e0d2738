"""How a command ends that did not come to its end: one line on stderr and the exit code. Loads next to nothing."""

import errno
import resource
import sys
from collections.abc import Iterator
from typing import NoReturn

from .last_line import EXIT_MISSING, end_with
from .signals import EXIT_INTERRUPTED, deafen, heard
from .spelling import shown

NO_TEMPORARY_FOLDER = "no usable temporary directory"
NO_MEMORY = (  # what libraries say when they get none, in lower case
    "bad_alloc",
    "can't allocate memory",
    "can't start new thread",
    "cannot allocate memory",
    "defaultcpuallocator",
    "failed to allocate memory",
    "failed to map segment",
    "unable to allocate",
)


def fail(message: str, code: int, *, as_json: bool) -> NoReturn:
    """Say in one line why, and exit."""
    end_with(" ".join(shown(message).split()), code, as_json=as_json)


def fail_if_interrupted(arguments: list[str], *, as_json: bool) -> None:
    """Exit as interrupted or terminated where a signal came, whatever its exception has become."""
    if heard() == EXIT_INTERRUPTED:
        goes_on = arguments[:1] in (["eval"], ["classify"])
        remark = "the same command with --resume goes on" if goes_on else "what was not finished was not written"
        fail(f"interrupted; {remark}", EXIT_INTERRUPTED, as_json=as_json)
    if heard() is not None:
        deafen()
        sys.exit(heard())


def fail_if_starved(error: BaseException, *, as_json: bool) -> None:
    """Exit with 3 where `error` comes of too little memory, or of a full disk behind stdout."""
    is_refusal = getattr(error, "exit_code", EXIT_MISSING) != EXIT_MISSING  # of bytes that ask for a lot, say
    for each in _chain(error):
        text = str(each)
        is_starved = _is(each, errno.ENOMEM) or (isinstance(each, MemoryError) and not is_refusal)
        if is_starved or (not hasattr(each, "exit_code") and any(say in text.lower() for say in NO_MEMORY)):
            why = " ".join(text.split()) or "no more could be had"
            advice = "free some, raise the limit, or ask for less at once"
            fail(f"out of memory{_limit()}: {why[:300]}; {advice}", EXIT_MISSING, as_json=as_json)
    if any(NO_TEMPORARY_FOLDER in str(each).lower() for each in _chain(error)):  # how Python's tempfile says it
        fail("no room on the disk for temporary files; free some, or set TMPDIR", EXIT_MISSING, as_json=as_json)
    if _is(error, errno.ENOSPC):
        where = getattr(error, "filename", None) or "stdout"
        fail(f"no room on the disk to write {where}; free some", EXIT_MISSING, as_json=as_json)


def _is(error: BaseException, number: int) -> bool:
    return isinstance(error, OSError) and error.errno == number


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what it came of, once each."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen:
        seen.append(following)
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _limit() -> str:
    """Return the limit of this process's memory in words; nothing where it has none."""
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    return "" if most == resource.RLIM_INFINITY else f" (this process may have {most / 1e9:.1f} GB, by ulimit -v)"
