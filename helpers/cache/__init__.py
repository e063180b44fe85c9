"""Results of slow work, kept on disk under keys that hold all that decides."""

from helpers.base.writing import write_atomically
from helpers.cache.store import cache_folder, cached, code_of

__all__ = [
    "cache_folder",
    "cached",
    "code_of",
    "write_atomically",
]
