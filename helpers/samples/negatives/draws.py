"""Draws by digests: the same whatever else is drawn, and none twice in a list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
from pandas.util import hash_array

from helpers.samples.history import Ints

__all__ = ["NONE", "Digests", "Draw", "Shelf", "digests", "mixed", "ranges"]

Digests = npt.NDArray[np.uint64]

#: No place at all.
NONE = np.zeros(0, dtype=np.int64)
_ROUNDS = 16  # of drawing one by one; what is missing then is drawn from a full list
_CHUNK = 2_000_000  # pairs of a list and a product that are looked at together


class Shelf:
    """What each list could have been drawn from: a part of all that was on sale."""

    def __init__(self, places: Ints, events: Ints, n_items: int, list_store: Ints) -> None:
        self.places, self.n_items, self.store = places, n_items, list_store
        self.items, self.events = places % n_items, events
        edges = [np.searchsorted(places, (list_store + i) * n_items) for i in (0, 1)]
        self.start, self.stop = edges
        self.sizes = self.stop - self.start
        self.upto = np.concatenate([[0], np.cumsum(events)])

    def holds(self, lists: Ints, items: Ints) -> np.ndarray:
        """Mark the products that are on their list's shelf."""
        place = self.store[lists] * self.n_items + items
        found = np.searchsorted(self.places, place).clip(max=len(self.places) - 1)
        return self.places[found] == place

    def pick(self, lists: Ints, chance: np.ndarray, *, popular: bool) -> Ints:
        """Return a product of each list's shelf for numbers between 0 and 1."""
        start, stop = self.start[lists], self.stop[lists]
        if not popular:
            return self.items[start + np.floor(chance * (stop - start)).astype(np.int64)]
        low, high = self.upto[start], self.upto[stop]
        event = low + np.floor(chance * (high - low)).astype(np.int64)
        return self.items[np.searchsorted(self.upto, event, side="right") - 1]


class Draw:
    """The draws of one period: for each success so many products, none twice in a list."""

    def __init__(
        self,
        shelf: Shelf,
        lists: Ints,
        want: Ints,
        base: Digests,
        forbidden: Ints,
        *,
        popular: bool,
    ) -> None:
        self.shelf, self.lists, self.want, self.popular = shelf, lists, want.copy(), popular
        self.base, self.forbidden = base, forbidden
        self.row = self.item = NONE

    def _accept(self, row: Ints, item: Ints) -> None:
        self.row, self.item = np.append(self.row, row), np.append(self.item, item)
        self.want -= np.bincount(row, minlength=len(self.want))
        pairs = self.lists[row] * self.shelf.n_items + item
        self.forbidden = np.union1d(self.forbidden, pairs)

    def one_by_one(self, easy: np.ndarray) -> None:
        """Draw, and draw again where a product may not be taken, for the lists marked."""
        drawn = np.zeros(len(self.want), dtype=np.int64)
        for _ in range(_ROUNDS):
            need = np.where(easy[self.lists], self.want, 0)
            if not need.any():
                return
            row = np.repeat(np.arange(len(need)), need)
            number = drawn[row] + np.arange(len(row)) - np.repeat(np.cumsum(need) - need, need)
            chance = _chances(mixed(self.base[row], number.astype(np.uint64)))
            item = self.shelf.pick(self.lists[row], chance, popular=self.popular)
            pairs = self.lists[row] * self.shelf.n_items + item
            new = np.zeros(len(row), dtype=bool)
            new[np.unique(pairs, return_index=True)[1]] = True  # the first of equal ones
            new &= ~np.isin(pairs, self.forbidden)
            drawn += need
            self._accept(row[new], item[new])

    def from_full_lists(self, list_base: Digests, item_digest: Digests) -> None:
        """Draw what is still wanted by giving every product of a list a place by chance.

        For draws in proportion to events the place is that of an exponential time with
        the events as its rate (Efraimidis and Spirakis, 2006, "Weighted random sampling
        with a reservoir").
        """
        left = np.flatnonzero(np.bincount(self.lists, self.want, minlength=len(list_base)))
        size = max(1, _CHUNK // max(1, int(self.shelf.sizes[left].max(initial=1))))
        for some in np.split(left, range(size, len(left), size)):
            self._rank(some, list_base, item_digest)

    def _rank(self, some: Ints, list_base: Digests, item_digest: Digests) -> None:
        shelf = self.shelf
        lists = np.repeat(some, shelf.sizes[some])
        at = ranges(shelf.start[some], shelf.stop[some])
        free = ~np.isin(lists * shelf.n_items + shelf.items[at], self.forbidden)
        lists, at = lists[free], at[free]
        chance = _chances(mixed(list_base[lists], item_digest[shelf.items[at]]))
        time = -np.log1p(-chance) / (shelf.events[at] if self.popular else 1)
        order = np.lexsort((time, lists))
        lists, at = lists[order], at[order]
        slots = np.repeat(np.arange(len(self.want)), self.want)
        slots = slots[np.isin(self.lists[slots], some)]
        # The first of a list's products fill the first of its slots, and so on.
        rank = np.arange(len(lists)) - np.searchsorted(lists, lists)
        slot_lists = self.lists[slots]
        first, stop = (np.searchsorted(slot_lists, lists, side=s) for s in ("left", "right"))
        fits = rank < stop - first
        self._accept(slots[(first + rank)[fits]], shelf.items[at[fits]])


def ranges(start: Ints, stop: Ints) -> Ints:
    """Return all whole numbers from each start up to its stop, one range after the other."""
    size = stop - start
    return np.repeat(start - np.cumsum(size) + size, size) + np.arange(size.sum())


def digests(values: pd.Series | pd.Index) -> Digests:
    """Return a digest of each value's text, the same in every run and source."""
    codes, names = pd.factorize(values)
    text = pd.Series(names).astype("str").to_numpy(dtype=object)
    # pandas hands this function out when it is asked for, so its type is not known.
    of_names: Digests = hash_array(text, categorize=False)  # type: ignore[operator]
    return of_names[codes]


def mixed(left: Digests, right: Digests | np.uint64) -> Digests:
    """Return one digest of two (the finaliser of SplitMix64, Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = left * np.uint64(0x9E3779B97F4A7C15) + np.asarray(right, dtype=np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))


def _chances(digests: Digests) -> np.ndarray:
    """Return numbers from 0 to below 1."""
    return (digests >> np.uint64(11)).astype(np.float64) * 2.0**-53
