"""A model that really converges: logistic regression, fitted with all rows and without each.

Where a minimum is found exactly, what a removed row does can be had exactly too. It is the truth
that estimates of it are held against.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits
from tqdm.auto import tqdm

from helpers.losses import cross_entropy, cross_entropy_by_logit, sigmoid

__all__ = ["Logistic", "converged_logistic", "logistic_influence", "logistic_leave_one_out"]

_RENEW = 0.3  # share of the gradient that a step may leave before the Hessian is made anew


@dataclass(frozen=True)
class Logistic:
    """A logistic regression at the minimum of its objective.

    Attributes:
        weights: float64, shape ``(d + 1,)``, bias last.
        gradient_norm: norm of the objective's gradient at these weights.
        steps: how many steps Newton's method took.
    """

    weights: np.ndarray
    gradient_norm: float
    steps: int

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return logits, float64, shape ``(n,)``."""
        return np.asarray(x, np.float64) @ self.weights[:-1] + self.weights[-1]

    def losses(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return each row's cross-entropy in nats, float64, shape ``(n,)``."""
        return cross_entropy(np.asarray(y, np.float64), self.logits(x))


def converged_logistic(
    x: np.ndarray,
    y: np.ndarray,
    l2: float,
    *,
    sample_weight: np.ndarray | None = None,
    start: np.ndarray | None = None,
    tolerance: float = 1e-10,
    max_steps: int = 100,
) -> Logistic:
    """Return the minimum of ``1/n sum_i w_i l_i + l2/2 ||theta||^2``, by Newton's method.

    The penalty holds the bias too, so that the objective is strictly convex and its Hessian is
    ``1/n X^T diag(w p (1 - p)) X + l2 I``. A weight of 0 leaves a row out and keeps the ``1/n``,
    so that the penalty weighs against the other rows as before.

    Args:
        x: features, shape ``(n, d)``.
        y: labels in [0, 1], shape ``(n,)``.
        l2: strength of the penalty, above 0.
        sample_weight: shape ``(n,)``, not negative; ones by default.
        start: weights to start from, shape ``(d + 1,)``; zeros by default.
        tolerance: largest gradient norm of the result.
        max_steps: Newton steps at most.

    Raises:
        ValueError: shapes do not fit, l2 is not above 0, or the gradient stays above the tolerance.

    Example:
        >>> fitted = converged_logistic(np.array([[-1.0], [1.0]]), np.array([0.0, 1.0]), l2=0.1)
        >>> bool(fitted.gradient_norm <= 1e-10), bool(fitted.weights[0] > 0)
        (True, True)

    Reference: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning,
    section 4.4.1.
    """
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.ndim != 2 or y.shape != (len(x),) or not len(x):
        raise ValueError(f"x must have shape (n, d) and y (n,); got {x.shape} and {y.shape}.")
    if not (np.isfinite(l2) and l2 > 0):
        raise ValueError(f"l2 must be above 0, so that there is one minimum; got {l2}.")
    share = (np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight)) / len(x)
    if share.shape != y.shape or not (np.isfinite(share) & (share >= 0)).all():
        raise ValueError("sample_weight must be one finite number per row, none of them negative.")
    problem = _Problem(np.column_stack([x, np.ones(len(x))]), y, l2, share)
    theta = np.zeros(x.shape[1] + 1) if start is None else np.array(start, np.float64)
    return _newton(problem, theta, tolerance, max_steps)


def _newton(problem: _Problem, theta: np.ndarray, tolerance: float, max_steps: int) -> Logistic:
    """Descend by Newton's method; a Hessian is used again while the gradient shrinks fast."""
    logits = problem.design @ theta
    before = np.inf
    for step in range(max_steps + 1):
        gradient = problem.gradient(theta, logits)
        norm = float(np.linalg.norm(gradient))
        if norm <= tolerance:
            return Logistic(theta, norm, step)
        if problem.factor is None or norm > _RENEW * before:
            problem.factor = cho_factor(problem.hessian(logits))
        move, length, before = cho_solve(problem.factor, gradient), 1.0, norm
        here = problem.objective(theta, logits)
        # Halve the step while it goes up; near the minimum rounding hides which way is down.
        while length > 1e-4 and norm > 1e-6:
            trial = theta - length * move
            if problem.objective(trial, problem.design @ trial) <= here:
                break
            length /= 2
        theta = theta - length * move
        logits = problem.design @ theta
    raise ValueError(
        f"Newton's method did not converge: the gradient norm is {norm:.2g} after {max_steps} "
        f"steps and {tolerance:.2g} was asked for. Bring the features to one scale or raise l2."
    )


@dataclass
class _Problem:
    """What Newton's method asks: the objective, its slope and its curvature.

    Attributes:
        design: features and a column of ones.
        y: labels.
        l2: strength of the penalty.
        share: ``w_i / n``.
        factor: the factor of a Hessian that was computed before, perhaps at other weights.
    """

    design: np.ndarray
    y: np.ndarray
    l2: float
    share: np.ndarray
    factor: tuple[np.ndarray, bool] | None = None

    def objective(self, theta: np.ndarray, logits: np.ndarray) -> float:
        return float(self.share @ cross_entropy(self.y, logits) + self.l2 / 2 * theta @ theta)

    def gradient(self, theta: np.ndarray, logits: np.ndarray) -> np.ndarray:
        errors = self.share * cross_entropy_by_logit(self.y, logits)
        return self.design.T @ errors + self.l2 * theta

    def hessian(self, logits: np.ndarray) -> np.ndarray:
        p = sigmoid(logits)
        found = (self.design * (self.share * p * (1 - p))[:, None]).T @ self.design
        found[np.diag_indices_from(found)] += self.l2
        return found


def logistic_influence(
    x: np.ndarray, y: np.ndarray, goal: tuple[np.ndarray, np.ndarray], *, l2: float
) -> np.ndarray:
    """Return what :func:`logistic_leave_one_out` would, by the influence function: to first order.

    The same numbers as :func:`helpers.importance.influence_scores` of this model, at the price of
    one fit and one solution: here the Hessian is small enough to be written down.

    Args:
        x: features, shape ``(n, d)``.
        y: labels in [0, 1], shape ``(n,)``.
        goal: features and labels of the goal's rows.
        l2: strength of the penalty, as :func:`converged_logistic` takes it.

    Returns:
        float64, shape ``(n,)``; positive is helpful; in nats.

    Raises:
        ValueError: for the reasons that :func:`converged_logistic` has.

    Example:
        The wrong label of the last row harms.

        >>> x, y = np.array([[-1.0], [1.0], [1.0]]), np.array([0.0, 1.0, 0.0])
        >>> (logistic_influence(x, y, (x[:2], y[:2]), l2=0.1) > 0).tolist()
        [True, True, False]

    Reference: Koh and Liang (2017), arXiv:1703.04730, section 2.1.
    """
    fitted = converged_logistic(x, y, l2)
    of_rows, of_goal = (_problem(*rows, l2=l2) for rows in ((x, y), goal))
    logits = of_rows.design @ fitted.weights
    wanted = of_goal.gradient(fitted.weights, of_goal.design @ fitted.weights)
    wanted -= l2 * fitted.weights  # the goal's loss has no penalty
    moved = cho_solve(cho_factor(of_rows.hessian(logits)), wanted)
    errors = of_rows.share * cross_entropy_by_logit(of_rows.y, logits)
    return errors * (of_rows.design @ moved)


def _problem(x: np.ndarray, y: np.ndarray, *, l2: float) -> _Problem:
    """Return the problem of rows that all count alike."""
    design = np.column_stack([np.asarray(x, np.float64), np.ones(len(x))])
    return _Problem(design, np.asarray(y, np.float64), l2, np.full(len(x), 1 / len(x)))


def logistic_leave_one_out(
    x: np.ndarray,
    y: np.ndarray,
    goal: tuple[np.ndarray, np.ndarray],
    *,
    l2: float,
    each: bool = False,
    rows: np.ndarray | None = None,
    progress: bool = False,
) -> np.ndarray:
    """Return how much the goal's loss rises when a row is left out and the model refitted.

    A converged logistic regression is fitted without each row in turn, by Newton's method from the
    minimum of all rows, to a gradient norm of 1e-10. That is exact up to rounding: the truth
    that :func:`helpers.importance.influence_scores` approximates.

    Cost: some five steps per row, each ``O(n d)``: the Hessian of all rows serves for every row,
    and is renewed only where a step leaves more than a third of the gradient.

    Args:
        x: features, shape ``(n, d)``.
        y: labels in [0, 1], shape ``(n,)``.
        goal: features and labels of the goal's rows.
        l2: strength of the penalty, as :func:`converged_logistic` takes it.
        each: one score for each goal row, in place of one for their mean loss.
        rows: which rows are left out, one at a time; all by default.
        progress: show a bar.

    Returns:
        float64, shape ``(m,)`` for the ``m`` rows, or ``(m, t)``; positive is helpful; in nats.

    Raises:
        ValueError: for the reasons that :func:`converged_logistic` has.

    Example:
        The wrong label of the last row harms.

        >>> x, y = np.array([[-1.0], [1.0], [1.0]]), np.array([0.0, 1.0, 0.0])
        >>> scores = logistic_leave_one_out(x, y, (x[:2], y[:2]), l2=0.1)
        >>> (scores > 0).tolist()
        [True, True, False]

    Reference: Cook and Weisberg (1982), Residuals and Influence in Regression, section 3.
    """
    with threadpool_limits(1):  # small products: threads would wait for each other
        return _leave_out_each(x, y, goal, l2, each, rows, progress)


def _leave_out_each(
    x: np.ndarray,
    y: np.ndarray,
    goal: tuple[np.ndarray, np.ndarray],
    l2: float,
    each: bool,
    rows: np.ndarray | None,
    progress: bool,
) -> np.ndarray:
    whole = converged_logistic(x, y, l2)
    base, found = whole.losses(*goal), []
    rows = np.arange(len(x)) if rows is None else np.asarray(rows)
    problem = _problem(x, y, l2=l2)
    factor = cho_factor(problem.hessian(problem.design @ whole.weights))
    for row in tqdm(rows, desc="leave one out", leave=False, disable=not progress):
        share = np.full(len(x), 1 / len(x))
        share[row] = 0.0
        without = replace(problem, share=share, factor=factor)
        again = _newton(without, whole.weights, 1e-10, 100)
        change = again.losses(*goal) - base
        found.append(change if each else change.mean())
    return np.array(found)
