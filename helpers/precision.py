"""What TensorFlow and Keras are set to for the whole process, as far as it changes numbers."""

from __future__ import annotations

from helpers.backend import keras, tf

__all__ = ["numeric_settings"]


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
