"""How a session is opened."""

import dataclasses

from ..ort.arithmetic import Arithmetic


@dataclasses.dataclass(frozen=True, kw_only=True)
class Opening:
    """What `open_session` was asked for, with its meaning there."""

    provider: str | None = None
    arithmetic: Arithmetic = Arithmetic.NATIVE
    trust_unverified: bool = False
    allow_host_code: bool = False
    threads: int | None = None
    streams: int = 1
    device: int = 0
