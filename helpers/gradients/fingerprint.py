"""A fingerprint of what a model and a loss compute, and a watch over what they could read.

What both see: the code of functions with all constants, functions within functions, defaults,
closures, and the values of the globals that they name, also in the user's own modules, followed as
far as they lead; partial functions, methods with their object, callable objects with their class
and attributes; lists, dictionaries, arrays and tensors, whole; Keras losses, layers and models
by their attributes, the wiring of functional models, weights, and which of them are trainable.
Installed libraries count by name and version.

What they cannot see is named in :attr:`Fingerprint.unseen` where it is recognised: generators,
datasets, objects of C without a readable state, ``open``, ``eval`` and the like, and TensorFlow's
calls of Python. Not recognised are: names put together while the function runs
(``getattr(settings, name)``), changes within an installed library, the random state, the time,
files and environment variables read through a library. Names of layers, initializers and
regularizers do not count: they change no row's loss.
"""

from __future__ import annotations

import hashlib
import types
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from helpers.backend import numeric_settings
from helpers.gradients.code import names_in, plain_text
from helpers.gradients.contents import Contents, contents_of

__all__ = ["Asked", "Fingerprint", "Found", "fingerprint", "found_in"]


@dataclass(frozen=True)
class Fingerprint:
    """What was found.

    Attributes:
        digest: another one where anything else would be computed.
        unseen: sentences about what could not be looked into; without any, the digest tells all.
    """

    digest: str
    unseen: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Asked:
    """A value in a module of the user's own.

    Attributes:
        module: the module.
        name: the name of the value in that module.
    """

    module: types.ModuleType
    name: str

    def contents(self) -> Contents:
        """Return the value as the one part."""
        kind = f"value {self.module.__name__}.{self.name}"
        return Contents(kind, [("", vars(self.module)[self.name])])


@dataclass(frozen=True)
class Found:
    """One object among all that can be reached.

    Attributes:
        path: where it was found, in words for a reader: ``loss closure settings.tau``.
        value: the object.
        contents: the object taken apart.
        parts: the places of its parts in the order of their finding, or a plain part as text.
    """

    path: str
    value: Any
    contents: Contents
    parts: list[int | str]


def fingerprint(**things: Any) -> Fingerprint:
    """Return a fingerprint of functions, models or any other objects.

    Args:
        things: the objects, each under the name that a sentence about it may use.

    Example:
        >>> def scaled(by):
        ...     return lambda y, p: by * (p[:, 0] - y) ** 2
        >>> fingerprint(loss=scaled(0.5)) == fingerprint(loss=scaled(0.5))
        True
        >>> fingerprint(loss=scaled(0.5)) == fingerprint(loss=scaled(5.0))
        False
        >>> fingerprint(loss=iter([1])).unseen, fingerprint(loss=(n for n in "ab")).unseen
        ((), ('loss: a generator cannot be looked into.',))
    """
    digest, unseen = hashlib.blake2b(digest_size=16), []
    digest.update(repr((sorted(things), numeric_settings())).encode())
    for found in found_in(**things):
        digest.update(f"{found.contents.kind}\0{found.parts}\0".encode())
        digest.update(repr([place for place, _ in found.contents.parts]).encode())
        if found.contents.data is not None:
            digest.update(found.contents.data())
        if found.contents.unseen:
            unseen.append(f"{found.path}: {found.contents.unseen}.")
    return Fingerprint(digest.hexdigest(), tuple(unseen))


def found_in(**things: Any) -> Iterator[Found]:
    """Yield all objects that things consist of, each once, the nearest first."""
    walk = _ValueWalk()
    for name, thing in sorted(things.items()):
        walk.place_of(thing, name)
    yield from walk.objects()


class _ValueWalk:
    """A walk through objects, breadth first: nothing is too deep for it."""

    def __init__(self) -> None:
        self.places: dict[int, int] = {}
        self.waiting: deque[tuple[str, Any]] = deque()
        self.alive: list[Any] = []  # else an address could be used again
        self.names: set[str] = set()
        self.modules: list[types.ModuleType] = []
        self.asked: set[tuple[str, str]] = set()

    def place_of(self, value: Any, path: str) -> int | str:
        """Return an object's place, or a plain value's text."""
        if (text := plain_text(value)) is not None:
            if isinstance(value, types.CodeType):
                self.names |= names_in(value)
            return text
        if id(value) not in self.places:
            self.places[id(value)] = len(self.places)
            self.alive.append(value)
            self.waiting.append((path, value))
        return self.places[id(value)]

    def objects(self) -> Iterator[Found]:
        """Yield what waits, and what it leads to."""
        while self.waiting or self.ask_modules():
            path, value = self.waiting.popleft()
            contents = value.contents() if isinstance(value, Asked) else contents_of(value)
            if isinstance(value, types.ModuleType) and not contents.of_library:
                self.modules.append(value)
            parts = [self.place_of(part, path + place) for place, part in contents.parts]
            yield Found(path, value, contents, parts)

    def ask_modules(self) -> bool:
        """Let the names that any function uses be looked up in the user's own modules."""
        for module in self.modules:
            for name in sorted(self.names & vars(module).keys()):
                if (module.__name__, name) not in self.asked:
                    self.asked.add((module.__name__, name))
                    self.place_of(Asked(module, name), f"{module.__name__}.{name}")
        return bool(self.waiting)
