"""TensorFlow and Keras, imported once and quietly.

TensorFlow 2.21 writes to file descriptor 2 before any log level is read, and
those lines land in whichever notebook cell is running. This module points the
descriptor at the null device while TensorFlow is imported and its devices start.
Nothing else of TensorFlow changes by the import: what a program does without the
helpers it does with them.

Example:
    >>> from helpers.backend import keras, tf
    >>> keras.backend.backend()
    'tensorflow'
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from helpers.base.quiet import quiet_stderr

__all__ = ["deterministic", "keras", "numeric_settings", "tf"]

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
with quiet_stderr():
    import keras
    import tensorflow as tf
    from tensorflow.python.framework import config as _config

    tf.constant(0.0)  # starts the devices, which prints too
tf.get_logger().setLevel("ERROR")  # its hints about retracing would land in a cell

_lock = threading.Lock()
_open_blocks, _before = 0, False  # in all threads; whether it was on before the first


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """Have the same operations give the same numbers, bit by bit, inside of the block.

    It is a switch of the whole process, so it goes back to where it was: while it is on, random
    numbers without a seed are refused, also those of somebody's own ``model.fit``.

    Example:
        >>> with deterministic():
        ...     print(tf.random.stateless_uniform([1], seed=[1, 2]).shape)
        (1,)
    """
    global _open_blocks, _before
    with _lock:
        if not _open_blocks:
            _before = _config.is_op_determinism_enabled()
            _config.enable_op_determinism()
        _open_blocks += 1
    try:
        yield
    finally:
        with _lock:
            _open_blocks -= 1
            if not _open_blocks and not _before:
                _config.disable_op_determinism()


def numeric_settings() -> dict[str, str | float | bool]:
    """Return versions and settings that belong into the key of a result of TensorFlow.

    Threads and processors are left out: they change the last digits only, and what is kept may
    go with its owner from one machine to another.

    Example:
        >>> numeric_settings()["floatx"]
        'float32'
    """
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
        "policy": keras.config.dtype_policy().name,
        "tensor_float_32": tf.config.experimental.tensor_float_32_execution_enabled(),
    }
