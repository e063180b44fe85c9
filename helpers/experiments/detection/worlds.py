"""One log, several worlds: the same rows, each time with other wrong labels planted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.samples import ROLES, Samples
from helpers.samples.noise import Noise, Planted, ceiling, plant, plant_labels

__all__ = ["World", "make_world", "own_world"]


@dataclass(frozen=True)
class World:
    """Train rows as a model sees them, and what was done to them.

    Attributes:
        samples: of any source.
        noise: what was planted; None for the log's own noise, or for none.
        rows: places of the train rows among the samples, rising; a duplicate is there twice.
        planted: their labels, and which rows the noise touched.
        seed: of the rows.
        number: which world; another number plants other labels into the same rows.
        genuine: whether the labels without the noise are the true ones, where those are known.
    """

    samples: Samples
    noise: Noise | None
    rows: np.ndarray
    planted: Planted
    seed: int
    number: int
    genuine: bool = True

    @property
    def labels(self) -> np.ndarray:
        """Return the train labels as seen, float32, shape ``(m,)``."""
        return self.planted.labels

    @property
    def users(self) -> np.ndarray:
        """Return whose rows they are, shape ``(m,)``."""
        return self.samples.column("user_id", self.rows)

    @property
    def items(self) -> np.ndarray:
        """Return which products they are about, shape ``(m,)``."""
        return self.samples.column("item_id", self.rows)

    def inputs(self) -> dict[str, np.ndarray]:
        """Return what a model reads of the train rows."""
        return self.samples.inputs(self.rows)

    def role(self, role: str, *, noisy: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows and labels of another role; test is never touched.

        Args:
            role: ``attribution``, ``valid`` or ``test``.
            noisy: plant the world's noise there, too.
        """
        rows = self.samples.rows(role)
        # On test the log's own labels: where noise is known, there is none.
        genuine = self.genuine and role != "test"
        labels = _genuine(self.samples, rows) if genuine else self.samples.labels(rows)
        if not noisy or role == "test":
            return rows, labels
        who = [self.samples.column(name, rows) for name in ("user_id", "item_id")]
        rng = _rng(self.seed, role, self.number)
        return rows, plant_labels(self.noise, labels, *who, rng=rng)

    def ceiling(self) -> np.ndarray | None:
        """Return the suspicion of one who knows the true probabilities; None without truth."""
        if self.noise is None or self.samples.truth is None:
            return None
        p = self.samples.truth["p_clean"].to_numpy()[self.rows]
        return ceiling(self.noise, self.planted, p, self.users, self.items)


def make_world(
    samples: Samples,
    noise: Noise | None,
    *,
    rows: int,
    seed: int = 0,
    number: int = 0,
    genuine: bool = True,
) -> World:
    """Draw train rows evenly and plant noise into their genuine labels.

    Where the truth is known, genuine labels are the true ones, and a world without noise is
    clean; elsewhere they are the log's, whatever is wrong with them.

    Args:
        samples: of any source.
        noise: what to plant; None for nothing.
        rows: how many train rows; all of them where there are fewer.
        seed: of the rows, the same for all worlds.
        number: of the world.
        genuine: plant into the true labels where they are known; else into the log's.

    Example:
        >>> from helpers.samples import load_samples
        >>> world = make_world(load_samples("sample"), Noise("flip", 0.2), rows=2000)
        >>> len(world.labels), bool(abs(world.planted.wrong.mean() - 0.2) < 0.03)
        (2000, True)
    """
    chosen = _train_rows(samples, rows, seed)
    who = [samples.column(name, chosen) for name in ("user_id", "item_id")]
    labels = _genuine(samples, chosen) if genuine else samples.labels(chosen)
    planted = plant(noise, labels, *who, rng=_rng(seed, "train", number))
    return World(samples, noise, chosen[planted.rows], planted, seed, number, genuine)


def own_world(samples: Samples, *, rows: int, seed: int = 0) -> World:
    """Return the log as it is, with its own noise marked; only where the truth is known.

    Raises:
        ValueError: the samples have no planted truth.
    """
    if samples.truth is None:
        raise ValueError("only the bundled sample log knows which of its labels are wrong.")
    chosen = _train_rows(samples, rows, seed)
    truth = samples.truth.iloc[chosen]
    wrong = (truth["observed_click"] != truth["clean_click"]).to_numpy()
    marked = (truth["noise"] != "none").to_numpy() | wrong
    labels = samples.labels(chosen)
    planted = Planted(np.arange(len(chosen)), labels, marked, wrong, np.zeros(len(chosen)))
    return World(samples, None, chosen, planted, seed, 0, genuine=False)


def _train_rows(samples: Samples, rows: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).permutation(samples.rows("train"))[:rows]
    return np.sort(drawn)


def _genuine(samples: Samples, rows: np.ndarray) -> np.ndarray:
    if samples.truth is None:
        return samples.labels(rows)
    return samples.truth["clean_click"].to_numpy()[rows].astype(np.float32)


def _rng(seed: int, role: str, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, 7, ROLES.index(role), number])
