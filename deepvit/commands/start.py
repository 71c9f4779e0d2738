"""The first thing that runs: hears Ctrl-C and SIGTERM while the rest is still being loaded."""

import atexit
import os
import sys

from .terminal.signals import deafen, listen

# Of the process that removes what a killed worker of ours left behind, which prints that it did.
UNTOLD = "ignore::UserWarning:multiprocessing.resource_tracker"


def main() -> None:
    """Run the command line; loading it is part of it."""
    listen()
    codes: list[int] = []
    atexit.register(_leave, codes)  # before all others, and so called after them
    sys.warnoptions.append(UNTOLD)  # handed on to every Python that this one starts
    try:
        from .app import main as run

        run()
    except SystemExit as end:
        codes += [end.code or 0] if end.code is None or isinstance(end.code, int) else []
        raise
    except (Exception, KeyboardInterrupt) as error:  # what loading raises: `run` says its own errors, and exits
        from .terminal.last_line import fail_if_incomplete

        as_json = "--log-json" in sys.argv
        fail_if_incomplete(error, as_json=as_json)  # before what needs a library itself
        from .terminal.ending import fail_if_interrupted, fail_if_starved

        fail_if_interrupted(sys.argv[1:], as_json=as_json)
        fail_if_starved(error, as_json=as_json)
        raise
    finally:
        deafen()


def _leave(codes: list[int]) -> None:
    """Exit at once where PyTorch is loaded: the interpreter takes two seconds to take that apart, object by object."""
    if codes and "torch" in sys.modules:
        import contextlib  # only here: nobody hears Ctrl-C before this module is loaded

        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # who read it is gone, or it was closed
                stream.flush()
        os._exit(codes[0])
