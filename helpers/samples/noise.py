"""Wrong labels on purpose: plant them, remember where, and ask what could find them at best.

A score that claims to find wrong labels is judged by noise whose places are known.
:func:`plant` turns labels or adds rows and marks what it touched; :func:`ceiling` says how
suspicious each row is to somebody who knows the true probabilities. No detector that looks at
the same rows can do better on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = [
    "BOT_SAYS_YES",
    "KINDS",
    "NO_NOISE",
    "RECOMMENDED",
    "Noise",
    "Planted",
    "ceiling",
    "chance_misclicked",
    "chance_wrong",
    "estimated_flip_share",
    "plant",
    "plant_labels",
]

Floats = npt.NDArray[np.float64]

#: What each kind does; ``rate`` is the chance or share named there.
KINDS = {
    "flip": "each label is turned with the given chance",
    "misclick": "each negative becomes positive with the given chance",
    "popular misclick": "the same, but the chance grows with the product's popularity",
    "lost positive": "each positive becomes negative with the given chance",
    "bot": "the given share of users says yes to nine rows in ten",
    "duplicate": "the given share of rows is there twice",
}
#: For each kind the score (of :func:`helpers.experiments.detection.suspicions`) that its cause
#: suggests; written down before any was measured.
RECOMMENDED = {
    "flip": "out-of-fold loss",
    "misclick": "out-of-fold loss of positives",
    "popular misclick": "out-of-fold loss of positives",
    "lost positive": "out-of-fold loss of negatives",
    "bot": "user's out-of-fold loss",
    "duplicate": "rows like this one",
}
#: The kind of data into which nothing was planted.
NO_NOISE = "none"
#: How often a bot says yes.
BOT_SAYS_YES = 0.9
_TINY = 1e-12


@dataclass(frozen=True)
class Noise:
    """A kind of noise and how much of it.

    Raises:
        ValueError: there is no such kind, or the rate is not in (0, 1); for ``popular
            misclick`` not in (0, 0.5), as it doubles for the most popular product.
    """

    kind: str
    rate: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}; got {self.kind!r}.")
        most = 0.5 if self.kind == "popular misclick" else 1.0
        if not 0 < self.rate < most:
            raise ValueError(f"the rate of {self.kind} must lie in (0, {most:g}); got {self.rate}.")

    @property
    def name(self) -> str:
        """Return a name for tables, such as ``20% flips``; for people: nothing is read off it."""
        return f"{100 * self.rate:g}% {self.kind}s"

    @property
    def adds_rows(self) -> bool:
        """Whether the noise adds rows rather than changing labels."""
        return self.kind == "duplicate"


@dataclass(frozen=True)
class Planted:
    """Rows after noise was planted.

    Attributes:
        rows: places in the arrays that came in, rising, shape ``(m,)``; a place that is there
            twice is a duplicate.
        labels: as a model sees them, float32, shape ``(m,)``.
        marked: what a detector should find: wrong labels; all rows of a bot; both copies of a
            duplicate. Shape ``(m,)``.
        wrong: whether the label differs from the one that came in, shape ``(m,)``.
        chance: how probable it was that this row's label would be turned, shape ``(m,)``.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.float32]
    marked: npt.NDArray[np.bool_]
    wrong: npt.NDArray[np.bool_]
    chance: Floats


def plant(
    noise: Noise | None,
    labels: npt.ArrayLike,
    users: npt.ArrayLike,
    items: npt.ArrayLike,
    *,
    rng: np.random.Generator,
) -> Planted:
    """Plant one kind of noise and remember where.

    Args:
        noise: what and how much; None plants nothing.
        labels: 0 or 1, shape ``(n,)``.
        users: whose row it is, shape ``(n,)``.
        items: which product, shape ``(n,)``; its rows are its popularity.
        rng: of the draws.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> noise, users, items = Noise("misclick", 0.5), list("aabb"), list("xyxy")
        >>> planted = plant(noise, [0, 0, 1, 0], users, items, rng=rng)
        >>> planted.labels.tolist(), planted.wrong.tolist()
        ([0.0, 1.0, 1.0, 1.0], [False, True, False, True])
    """
    labels = np.asarray(labels, dtype=np.float32)
    rows, none = np.arange(len(labels)), np.zeros(len(labels), dtype=bool)
    if noise is None:
        return Planted(rows, labels, none, none, np.zeros(len(labels)))
    if noise.kind == "duplicate":
        again = rng.random(len(labels)) < noise.rate
        rows = np.repeat(rows, 1 + again)
        twice = again[rows]
        return Planted(rows, labels[rows], twice, np.zeros(len(rows), bool), np.zeros(len(rows)))
    chance = _chance(noise, labels, items)
    if noise.kind == "bot":
        codes, names = pd.factorize(np.asarray(users))
        marked = (rng.permutation(len(names)) < max(1, round(noise.rate * len(names))))[codes]
        noisy = np.where(marked, rng.random(len(labels)) < BOT_SAYS_YES, labels)
        return Planted(rows, noisy.astype(np.float32), marked, noisy != labels, chance)
    wrong = rng.random(len(labels)) < chance
    noisy = np.where(wrong, 1 - labels, labels).astype(np.float32)
    return Planted(rows, noisy, wrong, wrong, chance)


def plant_labels(
    noise: Noise | None,
    labels: npt.ArrayLike,
    users: npt.ArrayLike,
    items: npt.ArrayLike,
    *,
    rng: np.random.Generator,
) -> npt.NDArray[np.float32]:
    """Return the labels with the noise planted, row for row: duplicates add none here.

    For the rows that plans are *chosen* by: there a second copy changes only the rows' weights.
    """
    if noise is not None and noise.adds_rows:
        return np.asarray(labels, dtype=np.float32)
    return plant(noise, labels, users, items, rng=rng).labels


def _chance(noise: Noise, labels: np.ndarray, items: npt.ArrayLike) -> Floats:
    """Return the chance that each row's label is turned, from the clean labels."""
    rate = np.full(len(labels), noise.rate)
    if noise.kind == "popular misclick":
        codes, _ = pd.factorize(np.asarray(items))
        place = pd.Series(np.bincount(codes)[codes]).rank(pct=True).to_numpy()
        rate *= place / place.mean()
    touched = {"flip": labels >= 0, "lost positive": labels == 1, "bot": labels == 0}
    return np.where(touched.get(noise.kind, labels == 0), np.minimum(rate, 1.0), 0.0)


def ceiling(
    noise: Noise,
    planted: Planted,
    probability: npt.ArrayLike,
    users: npt.ArrayLike,
    items: npt.ArrayLike,
) -> Floats:
    """Return how probable it is that the noise touched each row, for one who knows the truth.

    It is Bayes' rule on the true probability ``p`` of a positive. For turned labels with the
    chance ``r``: ``r (1 - p) / (r (1 - p) + (1 - r) p)`` for a positive row. A bot is judged by all
    of its rows at once; a duplicate is seen by comparing rows.

    Args:
        noise: what was planted.
        planted: where.
        probability: that a genuine label is 1, in [0, 1], for the rows of ``planted``.
        users: the same rows' users.
        items: the same rows' products.

    Returns:
        float64, shape ``(m,)``: its order is the best possible one on average.

    Example:
        >>> rng, p = np.random.default_rng(0), np.array([0.1, 0.9])
        >>> noise, who = Noise("flip", 0.2), np.arange(2)
        >>> seen = plant(noise, [1, 1], who, who, rng=rng)
        >>> ceiling(noise, seen, p, who, who).round(3)
        array([0.692, 0.027])

    Reference: Northcutt, Jiang and Chuang (2021), arXiv:1911.00068, section 2 (class-conditional
    noise); the rest is Bayes' rule.
    """
    p = np.clip(np.asarray(probability, dtype=np.float64), _TINY, 1 - _TINY)
    y = planted.labels == 1
    if noise.kind == "duplicate":
        return (np.bincount(planted.rows)[planted.rows] > 1).astype(np.float64)
    if noise.kind == "bot":
        codes, _ = pd.factorize(np.asarray(users))
        gain = np.where(y, np.log(BOT_SAYS_YES / p), np.log((1 - BOT_SAYS_YES) / (1 - p)))
        return np.bincount(codes, gain)[codes]
    if noise.kind == "lost positive":
        return np.where(y, 0.0, noise.rate * p / (noise.rate * p + 1 - p))
    rate = _chance(noise, np.zeros(len(p)), items)
    if noise.kind == "flip":
        return np.where(y, _bayes(rate, 1 - p), _bayes(rate, p))
    return np.where(y, rate * (1 - p) / (rate * (1 - p) + p), 0.0)


def _bayes(rate: Floats, other: Floats) -> Floats:
    """Return the chance of a turned label; ``other`` is the true chance of the other class."""
    return rate * other / (rate * other + (1 - rate) * (1 - other))


def estimated_flip_share(
    labels: npt.ArrayLike, probabilities: npt.ArrayLike, *, surest: float = 0.05
) -> float:
    """Return how many labels are turned, read off where a model is surest of a negative.

    Among the rows with the lowest predictions nearly all positives are wrong labels, if labels are
    turned whatever their class. Where no such row can be sure, the estimate is too high: it is a
    ceiling, exact only if some rows are certain negatives. Half the rows at most can be turned.

    Args:
        labels: 0 or 1, shape ``(n,)``.
        probabilities: predictions by models that did not see the row, shape ``(n,)``.
        surest: share of rows that are looked at.

    Returns:
        A share in [0, 0.49].

    Raises:
        ValueError: the shapes differ, or ``surest`` is not in (0, 1].

    Example:
        >>> p = np.linspace(0.2, 0.8, 1000)
        >>> labels = np.tile([1, 0, 0, 0, 0], 200)
        >>> estimated_flip_share(labels, p)
        0.2

    Reference: Liu and Tao (2016), arXiv:1411.7718, theorem 4: the noise rate is a minimum of the
    observed class probability.
    """
    labels, p = np.asarray(labels, dtype=np.float64), np.asarray(probabilities, dtype=np.float64)
    if labels.shape != p.shape or labels.ndim != 1:
        raise ValueError(f"labels and probabilities must agree; got {labels.shape} and {p.shape}.")
    if not 0 < surest <= 1:
        raise ValueError(f"surest must lie in (0, 1]; got {surest}.")
    lowest = np.argsort(p, kind="stable")[: max(1, round(surest * len(p)))]
    return float(min(labels[lowest].mean(), 0.49))


def chance_wrong(labels: npt.ArrayLike, probabilities: npt.ArrayLike, flip_share: float) -> Floats:
    """Return the chance that each label is turned, if so many are, whatever their class.

    ``probabilities`` are of the labels *as seen*, noise included; taking it out gives the clean
    ones, ``(q - r) / (1 - 2 r)``, and Bayes' rule the chance.

    Args:
        labels: as seen, 0 or 1, shape ``(n,)``.
        probabilities: by models that did not see the row, shape ``(n,)``.
        flip_share: ``r`` in [0, 0.5).

    Returns:
        float64 in [0, 1], shape ``(n,)``; all 0 where nothing is turned.

    Raises:
        ValueError: ``flip_share`` is not in [0, 0.5).

    Example:
        >>> chance_wrong([1, 1], [0.26, 0.74], 0.2).round(3)
        array([0.692, 0.027])
    """
    if not 0 <= flip_share < 0.5:
        raise ValueError(f"flip_share must lie in [0, 0.5); got {flip_share}.")
    q = np.asarray(probabilities, dtype=np.float64)
    clean = np.clip((q - flip_share) / (1 - 2 * flip_share), _TINY, 1 - _TINY)
    other = np.where(np.asarray(labels) == 1, 1 - clean, clean)
    return _bayes(np.full(len(q), flip_share), other)


def chance_misclicked(labels: npt.ArrayLike, probabilities: npt.ArrayLike, rate: float) -> Floats:
    """Return the chance that each positive is a misclick, if negatives become so at this rate.

    With ``q = p + rate (1 - p)`` the probability of a positive *as seen*, misclicks included, the
    share of them among the positives is ``rate (1 - p) / q``.

    Args:
        labels: as seen, 0 or 1, shape ``(n,)``.
        probabilities: by models that did not see the row, shape ``(n,)``.
        rate: in [0, 1).

    Returns:
        float64 in [0, 1], shape ``(n,)``; 0 for negatives, which nothing can have turned.

    Raises:
        ValueError: ``rate`` is not in [0, 1).

    Example:
        >>> chance_misclicked([1, 0], [0.28, 0.28], 0.1).round(3)
        array([0.286, 0.   ])
    """
    if not 0 <= rate < 1:
        raise ValueError(f"rate must lie in [0, 1); got {rate}.")
    q = np.clip(np.asarray(probabilities, dtype=np.float64), max(rate, _TINY), 1.0)
    genuine = (q - rate) / (1 - rate)
    return np.where(np.asarray(labels) == 1, rate * (1 - genuine) / q, 0.0)
