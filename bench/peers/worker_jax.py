"""JAX: ``vmap(grad)`` beside ``grad`` of the batch; call: ``worker_jax.py vmap MODEL ROWS``."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
from shapes import CHECKED_ROWS, SHAPES, WIDTH, Shape, Unsupported, load, refuse, serve

_MOST_BYTES = 4e9  # of all gradients, which vmap writes out


def parameters(shape: Shape) -> dict:
    """Return random tables and dense layers."""
    rng = np.random.default_rng(0)
    pairs = zip(shape.widths, shape.widths[1:], strict=False)
    normal = lambda *size: jnp.asarray(rng.normal(0, 0.05, size), jnp.float32)  # noqa: E731
    return {
        "tables": [normal(size, WIDTH) for size in shape.vocabularies],
        "layers": [(normal(m, n), jnp.zeros(n)) for m, n in pairs],
    }


def row_loss(p: dict, features: jax.Array, ids: jax.Array, y: jax.Array) -> jax.Array:
    """Return the cross-entropy of one row."""
    hidden = jnp.concatenate([features, *(t[ids[k]] for k, t in enumerate(p["tables"]))])
    for weights, bias in p["layers"][:-1]:
        hidden = jax.nn.relu(hidden @ weights + bias)
    weights, bias = p["layers"][-1]
    logit = (hidden @ weights + bias)[0]
    return jax.nn.softplus(logit) - y * logit


def batch_loss(p: dict, features: jax.Array, ids: jax.Array, y: jax.Array) -> jax.Array:
    """Return the mean over the rows."""
    return jax.vmap(row_loss, (None, 0, 0, 0))(p, features, ids, y).mean()


def row_norm(p: dict, features: jax.Array, ids: jax.Array, y: jax.Array) -> jax.Array:
    """Return the norm of one row's gradient."""
    gradients = jax.grad(row_loss)(p, features, ids, y)
    return jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradients)))


def main(_: str, name: str, file: str) -> None:
    """Measure JAX on the rows of a file."""
    p, rows = parameters(SHAPES[name]), [jnp.asarray(part) for part in load(file)]
    size = 4 * len(rows[2]) * sum(leaf.size for leaf in jax.tree.leaves(p))
    if size > _MOST_BYTES:
        raise Unsupported(f"vmap(grad) would write {size / 1e9:.0f} GB of table gradients")
    step = jax.jit(jax.grad(batch_loss))
    norms = jax.jit(jax.vmap(row_norm, (None, 0, 0, 0)))
    one = jax.jit(row_norm)
    naive = [float(one(p, *(part[i] for part in rows))) for i in range(CHECKED_ROWS)]
    serve(
        lambda: jax.block_until_ready(step(p, *rows)),
        lambda: np.asarray(norms(p, *rows)),
        np.array(naive),
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Unsupported as why:
        refuse(str(why))
