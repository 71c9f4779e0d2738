"""Files that are read, locked or replaced, whole or not at all."""

from .bounded import open_bounded, read_bounded
from .cache import cache_folder, cache_root
from .lock import held_lock
from .replacement import beside, replaced, sync
from .room import require_room, write_error

__all__ = [
    "beside",
    "cache_folder",
    "cache_root",
    "held_lock",
    "open_bounded",
    "read_bounded",
    "replaced",
    "require_room",
    "sync",
    "write_error",
]
