"""Functions of a library replaced for a while, for one thread."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Patches"]

# Two threads that replace and restore one function at a time would leave it replaced.
_ONE_AT_A_TIME = threading.RLock()


class Patches(contextlib.AbstractContextManager["Patches"]):
    """Functions replaced until the end of a block; other threads meet the original ones.

    Example:
        >>> import math
        >>> with Patches() as patches:
        ...     patches.put("math", "floor", lambda original, x: original(x) + 10)
        ...     math.floor(2.5)
        12
        >>> math.floor(2.5)
        2
    """

    def __enter__(self) -> Patches:
        _ONE_AT_A_TIME.acquire()
        self._undo = contextlib.ExitStack()
        return self

    def put(self, owner: str, name: str, function: Callable[..., Any]) -> None:
        """Replace ``name`` of the module ``owner`` by ``function(original, ...)``, if it is there.

        Another version of a library may have another function there. What the replacement would
        have shown is then refused, as all that is hidden.
        """
        module, thread = sys.modules.get(owner), threading.get_ident()
        original = getattr(module, name, None)
        if original is None:
            return

        @functools.wraps(original)
        def replaced(*args: Any, **options: Any) -> Any:
            if threading.get_ident() != thread:
                return original(*args, **options)
            return function(original, *args, **options)

        self._undo.callback(setattr, module, name, original)
        setattr(module, name, replaced)

    def swap(self, module: Any, name: str, **own: Callable[..., Any]) -> None:
        """Let a module see another one, ``name``, with some functions of one's own in it."""
        original = getattr(module, name)
        self._undo.callback(setattr, module, name, original)
        setattr(module, name, _With(original, own, threading.get_ident()))

    def __exit__(self, *error: Any) -> None:
        self._undo.close()
        _ONE_AT_A_TIME.release()


class _With:
    """A module with some functions of one thread's own."""

    def __init__(self, module: Any, own: dict[str, Callable[..., Any]], thread: int) -> None:
        self._module, self._own, self._thread = module, own, thread

    def __getattr__(self, name: str) -> Any:
        mine = threading.get_ident() == self._thread and name in self._own
        return self._own[name] if mine else getattr(self._module, name)
