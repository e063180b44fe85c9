"""TensorFlow and Keras, imported once and quietly.

TensorFlow 2.21 writes to file descriptor 2 before any log level is read, and
those lines land in whichever notebook cell is running. This module points the
descriptor at the null device while TensorFlow is imported and its devices start.

Example:
    >>> from helpers.backend import keras, tf
    >>> keras.backend.backend()
    'tensorflow'
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

__all__ = ["keras", "quiet_stderr", "tf"]


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Send file descriptor 2 to the null device, and put it back afterwards."""
    saved = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with quiet_stderr():
    import keras
    import tensorflow as tf

    tf.constant(0.0)  # starts the devices, which prints too
tf.get_logger().setLevel("ERROR")  # its hints about retracing would land in a cell
# The same seed must give the same weights, on every run of one machine.
tf.config.experimental.enable_op_determinism()
