"""TF-Privacy's fast norms beside ``tape.gradient``, on legacy Keras.

Call: ``worker_tf_privacy.py fast MODEL ROWS``.
"""

from __future__ import annotations

import sys

import numpy as np
import tensorflow as tf
from shapes import CHECKED_ROWS, FEATURES, SHAPES, WIDTH, Shape, load, serve
from tensorflow_privacy.privacy.fast_gradient_clipping import clip_grads, layer_registry


def build(shape: Shape) -> tf.keras.Model:
    """Return M1 or M2 in legacy Keras."""
    layers = tf.keras.layers
    inputs = [tf.keras.Input((FEATURES,))]
    parts = [inputs[0]]
    for size in shape.vocabularies:
        inputs.append(tf.keras.Input((1,), dtype="int32"))
        parts.append(layers.Flatten()(layers.Embedding(size, WIDTH)(inputs[-1])))
    hidden = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    for width in shape.hidden:
        hidden = layers.Dense(width, activation="relu")(hidden)
    return tf.keras.Model(inputs, layers.Dense(1)(hidden))


def losses_of(y: tf.Tensor, logits: tf.Tensor, _: object = None) -> tf.Tensor:
    """Return one cross-entropy a row."""
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits[:, 0])


def main(_: str, name: str, file: str) -> None:
    """Measure TF-Privacy on the rows of a file."""
    tf.keras.utils.set_random_seed(0)
    model, registry = build(SHAPES[name]), layer_registry.make_default_layer_registry()
    features, ids, y = load(file)
    x = [tf.constant(features), *(tf.constant(column[:, None]) for column in ids.T)]
    y = tf.constant(y)
    variables = model.trainable_variables

    @tf.function(autograph=False)
    def gradients(x: list, y: tf.Tensor) -> list:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(losses_of(y, model(x, training=False)))
        return tape.gradient(loss, variables)

    @tf.function(autograph=False)
    def norms(x: list, y: tf.Tensor) -> tf.Tensor:
        return clip_grads.compute_gradient_norms(
            model, registry, x, y, per_example_loss_fn=losses_of
        )

    def row_norm(i: int) -> float:
        one = gradients([part[i : i + 1] for part in x], y[i : i + 1])
        return float(tf.linalg.global_norm(one))  # one look-up a table: no id comes twice

    naive = np.array([row_norm(i) for i in range(CHECKED_ROWS)])
    serve(lambda: gradients(x, y), lambda: norms(x, y).numpy(), naive)


if __name__ == "__main__":
    main(*sys.argv[1:])
