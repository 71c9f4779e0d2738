"""How long work says what it does: one call when a step begins, then calls with how much of it is done."""

import logging
from collections.abc import Callable

Advance = Callable[[int, int], None]  # done, in all
Progress = Callable[[str], Advance]  # called with what begins
Share = Callable[[str, float], None]  # the phase of a build, and the share of all of it that is done

logger = logging.getLogger(__name__)


def log_step(text: str) -> Advance:
    """Log what begins, and nothing of how far it is."""
    logger.info(text)
    return lambda _done, _total: None
