"""One table of all training rows and their scores."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from helpers.backend import numeric_settings
from helpers.cache import code_of
from helpers.cache.digests import digest_of
from helpers.cache.shelf import cached_table
from helpers.importance.dynamics import (
    area_under_margin,
    follow,
    forgetting_events,
    mean_losses,
)
from helpers.importance.errors import output_errors, sample_losses
from helpers.importance.folds import adjusted_margins, out_of_fold_probabilities
from helpers.importance.inside import activation_norms, input_saliency
from helpers.importance.pull import early_gradient_norms, gradient_norms
from helpers.models import Fitted, Trainer
from helpers.samples import Samples
from helpers.samples.noise import chance_wrong, estimated_flip_share

__all__ = ["SCORES", "importance_table"]

_LOOKS = 10  # at a training that is followed

#: The scores of the table, each with the question that it answers.
SCORES = {
    "loss": "How wrong is the final model about this row?",
    "gradient_norm": "How hard does this row pull at the final parameters?",
    "early_gradient_norm": "How hard did it pull early in training, on average over seeds?",
    "mean_loss": "How wrong was the model about it during a whole training, on average?",
    "area_under_margin": "How clearly did the given label win during training? Low is suspect.",
    "forgetting_events": "How often did the model go from right to wrong about it?",
    "out_of_fold_error": "How wrong is a model that never saw this user's rows?",
    "adjusted_margin": "By how much does the other class win there, each against its average?",
    "chance_wrong": "How probable is it that the label is wrong, if labels are turned at random?",
    "leverage": "How much can the parameters move this row's logit?",
    "activation_norm": "How strongly does this row excite the last hidden layer?",
    "input_saliency": "How much would the loss change if this row's features did?",
}


def importance_table(
    samples: Samples,
    fitted: Fitted,
    *,
    early_updates: int = 100,
    early_seeds: int = 3,
    folds: int = 3,
    fold_updates: int = 300,
    seed: int = 0,
    progress: bool = False,
) -> pd.DataFrame:
    """Return one row per training sample: who, what, when, and every score; cached.

    Args:
        samples: samples of any source.
        fitted: a rung of the ladder, trained on the train rows.
        early_updates: after how many updates the early gradient norm is taken.
        early_seeds: how many seeds the early gradient norm, and the scores of a whole training,
            are averaged over.
        folds: parts for the out-of-fold scores.
        fold_updates: updates of each fold's model, and of the trainings that are followed.
        seed: first seed of the early norms; seed of the folds.
        progress: show bars.

    Returns:
        ``sample_id, user_id, item_id, event_time, label, prediction`` and the
        columns of :data:`SCORES`, in time order. ``leverage`` is
        ``gradient_norm / |p - y|``, NaN where the error is exactly 0; ``adjusted_margin`` is NaN
        where only one label occurs.
    """
    options = {
        "early_updates": early_updates,
        "early_seeds": early_seeds,
        "folds": folds,
        "fold_updates": fold_updates,
        "seed": seed,
    }
    key = {
        "samples": digest_of(samples),
        "model": digest_of(fitted.kind, fitted.weights),
        "code": code_of(__name__),
        "numeric": numeric_settings(),
        **options,
    }
    return cached_table("importance", key, lambda: _score(samples, fitted, options, progress))


def _score(
    samples: Samples, fitted: Fitted, options: Mapping[str, int], progress: bool
) -> pd.DataFrame:
    """Return the table of :func:`importance_table`, computed anew."""
    rows = samples.rows("train")
    inputs, labels = samples.inputs(rows), samples.labels(rows)
    trainer = Trainer(fitted.kind, inputs, samples.sizes)
    first = options["seed"]
    table = samples.table.iloc[rows][
        ["sample_id", "user_id", "item_id", "event_time", "label"]
    ].reset_index(drop=True)
    table["prediction"] = fitted.probabilities(inputs)
    table["loss"] = sample_losses(fitted, inputs, labels)
    table["gradient_norm"] = gradient_norms(fitted, inputs, labels, progress=progress)
    table["early_gradient_norm"] = early_gradient_norms(
        trainer,
        labels,
        seeds=tuple(range(first, first + options["early_seeds"])),
        updates=options["early_updates"],
        progress=progress,
    )
    seen = follow(
        trainer,
        labels,
        seeds=range(first, first + options["early_seeds"]),
        updates=options["fold_updates"],
        looks=min(_LOOKS, options["fold_updates"]),
        progress=progress,
    )
    table["mean_loss"] = mean_losses(seen)
    table["area_under_margin"] = area_under_margin(seen)
    table["forgetting_events"] = forgetting_events(seen)
    unseen = out_of_fold_probabilities(
        trainer,
        labels,
        samples.column("user_id", rows),
        folds=options["folds"],
        updates=options["fold_updates"],
        seed=first,
        progress=progress,
    )
    table["out_of_fold_error"] = np.abs(unseen - labels)
    # The margins compare a row's own label with the other one, which must occur.
    both = len(np.unique(labels)) == 2
    table["adjusted_margin"] = adjusted_margins(labels, unseen) if both else np.nan
    table["chance_wrong"] = chance_wrong(labels, unseen, estimated_flip_share(labels, unseen))
    error = np.abs(output_errors(fitted, inputs, labels))
    norm = table["gradient_norm"].to_numpy()
    # Without an error the norm is 0 as well, and says nothing of the leverage: 0 / 0 stays NaN.
    table["leverage"] = np.divide(norm, error, out=np.full(len(norm), np.nan), where=error > 0)
    table["activation_norm"] = activation_norms(fitted, inputs)
    table["input_saliency"] = input_saliency(fitted, inputs, labels)
    return table
