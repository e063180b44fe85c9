"""What is a row worth to a vote of nearest neighbours? Exact Shapley values, by a recursion."""

from __future__ import annotations

import numpy as np

__all__ = ["knn_shapley"]


def knn_shapley(
    points: np.ndarray,
    labels: np.ndarray,
    goal_points: np.ndarray,
    goal_labels: np.ndarray,
    *,
    k: int = 10,
    each: bool = False,
    block: int = 64,
) -> np.ndarray:
    """Return each row's Shapley value in a vote of the ``k`` nearest neighbours.

    The value of a set ``S`` of rows for one goal row is the share of right votes,
    ``v(S) = 1/k sum over the min(k, |S|) nearest of S of 1[label is right]``. With the rows sorted
    by their distance, nearest first, the Shapley values are, from the far end on::

        s_n = min(k, n) / (k n) * 1[y_n is right]
        s_j = s_(j+1) + (1[y_j is right] - 1[y_(j+1) is right]) / k * min(k, j) / j

    and the score is the mean over the goal rows. It is exact: no subset is drawn and nothing is
    trained. But it values rows for *that vote*, not for the model of which the points come.

    Cost: a sort for each goal row, ``O(t n (d + log n))``; memory for ``block`` goal rows at once.

    Args:
        points: the place of each row, shape ``(n, d)``: features on one scale, or what enters a
            network's last layer.
        labels: shape ``(n,)``, any values that can be equal.
        goal_points: shape ``(t, d)``.
        goal_labels: shape ``(t,)``.
        k: neighbours that vote.
        each: one score for each goal row, in place of their mean.
        block: goal rows worked on at once.

    Returns:
        float64, shape ``(n,)`` or ``(n, t)``; positive is helpful. The sum is ``v(all rows)``
        exactly. Of rows at one distance the earlier counts as nearer.

    Raises:
        ValueError: shapes do not fit, a value is not finite, or k or block is below 1.

    Example:
        The nearest row votes right, the other one wrong.

        >>> x, y = np.array([[0.0], [1.0]]), np.array([1, 0])
        >>> knn_shapley(x, y, np.array([[0.1]]), np.array([1]), k=1)
        array([1., 0.])

    Reference: Jia et al. (2019), "Efficient task-specific data valuation for nearest neighbor
    algorithms", arXiv:1908.08619, theorem 1; ``min(k, n)`` covers fewer rows than ``k``.
    """
    points, goal_points = (
        _checked(points, labels, "points"),
        _checked(goal_points, goal_labels, "goal_points"),
    )
    labels, goal_labels = np.asarray(labels), np.asarray(goal_labels)
    if points.shape[1] != goal_points.shape[1]:
        raise ValueError(
            "points and goal_points must have the same columns; "
            f"got {points.shape[1]} and {goal_points.shape[1]}."
        )
    if k < 1 or block < 1:
        raise ValueError(f"k and block must be at least 1; got {k} and {block}.")
    rows, goals = len(points), len(goal_points)
    total = np.zeros((rows, goals) if each else rows)
    squares, place = (points**2).sum(axis=1), np.arange(1, rows)
    shares = np.minimum(k, place) / (place * k)  # of places 1 to n - 1
    for start in range(0, len(goal_points), block):
        here = slice(start, start + block)
        # Without the goal row's own square: it moves all distances alike.
        order = np.argsort(squares - 2 * goal_points[here] @ points.T, axis=1, kind="stable")
        right = (labels[order] == goal_labels[here, None]).astype(np.float64)
        steps = (right[:, :-1] - right[:, 1:]) * shares
        far = min(k, rows) / (k * rows) * right[:, -1:]
        values = np.cumsum(np.concatenate([far, steps[:, ::-1]], axis=1), axis=1)[:, ::-1]
        if each:
            np.put_along_axis(total[:, here], order.T, values.T, axis=0)
        else:
            np.add.at(total, order.ravel(), values.ravel())
    return total if each else total / goals


def _checked(points: np.ndarray, labels: np.ndarray, name: str) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or np.shape(labels) != points.shape[:1] or not len(points):
        raise ValueError(
            f"{name} must have shape (n, d) and its labels (n,), with n at least 1; "
            f"got {points.shape} and {np.shape(labels)}."
        )
    if not np.isfinite(points).all():
        raise ValueError(f"{name} must be finite; it holds NaN or infinite values.")
    return points
