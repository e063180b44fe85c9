"""This project's engine beside ``tape.gradient``; call: ``worker_engine.py ours MODEL ROWS``."""

from __future__ import annotations

import sys

import numpy as np
from gradient_models import CASES
from shapes import CHECKED_ROWS, load, serve

from helpers.backend import keras, tf
from helpers.gradients import PerSampleGradients, naive_norms
from helpers.gradients.batches import take_rows
from helpers.losses import cross_entropy_loss


def main(_: str, name: str, file: str) -> None:
    """Measure the engine on the rows of a file."""
    keras.utils.set_random_seed(0)
    features, ids, y = load(file)
    model = CASES[name].build()
    inputs = {"features": features} | {f"id{k}": column for k, column in enumerate(ids.T)}
    x = {k: tf.constant(v) for k, v in inputs.items()} if ids.size else tf.constant(features)
    labels = tf.constant(y)
    engine = PerSampleGradients(model, cross_entropy_loss)
    variables = [v.value for v in model.trainable_variables]

    @tf.function(autograph=False)
    def step() -> list:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(cross_entropy_loss(labels, model(x, training=False)))
        return tape.gradient(loss, variables)

    some = slice(0, CHECKED_ROWS)
    naive = naive_norms(model, cross_entropy_loss, take_rows(x, some), y[some])
    serve(step, lambda: np.asarray(engine.norms(x, labels)), naive)


if __name__ == "__main__":
    main(*sys.argv[1:])
