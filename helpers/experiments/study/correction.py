"""Probabilities from noisy weeks: a recalibration that knows of the noise in its rows."""

from __future__ import annotations

import numpy as np

from helpers import importance
from helpers.evaluation.calibration import Recalibration, fit_recalibration, fit_through_noise
from helpers.experiments.detection import World
from helpers.experiments.study.plans import ORACLE, far_out_users
from helpers.experiments.ways import SUSPECTS
from helpers.losses import sigmoid

__all__ = ["corrected_line"]


def corrected_line(world: World, role: str, action: str, logits: np.ndarray) -> Recalibration:
    """Return the line through logits of a role, with what an action knows to be wrong taken out.

    The oracle leaves out what was planted. Dropping suspects does there what its rule does to train
    rows, but for one thing: a row that is dropped *because of its label* would bend the line. So
    turned labels stay, and the noise goes into the likelihood
    (:func:`helpers.evaluation.calibration.fit_through_noise`). Bots go, users and all. For lost
    positives nothing is corrected, as nothing tells how many are lost; copies are planted into
    train rows only. All other actions take every label for right.

    Args:
        world: rows and labels as seen.
        role: ``attribution`` or ``valid``.
        action: a plan.
        logits: of the role's rows, by the model that is to be recalibrated, shape ``(n,)``.
    """
    labels = world.role(role)[1]
    kept = np.ones(len(labels), dtype=bool)
    kind = world.noise.kind if world.noise else "flip"
    oracle, _ = ORACLE
    if action == oracle:
        kept = labels == world.role(role, noisy=False)[1]
    elif action == SUSPECTS and kind in ("flip", "misclick", "popular misclick"):
        return fit_through_noise(labels, logits, down=kind == "flip")[0]
    elif action == SUSPECTS and kind == "bot":
        users = world.samples.column("user_id", world.samples.rows(role))
        kept = ~far_out_users(users, importance.out_of_fold_losses(labels, sigmoid(logits)))
    if len(np.unique(labels[kept])) < 2:  # no line is left
        kept[:] = True
    return fit_recalibration(labels[kept], logits[kept])
