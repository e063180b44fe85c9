"""From tables to samples: exposures with a label, a role and features."""

from helpers.samples.samples import (
    ROLES,
    Samples,
    load_samples,
    make_samples,
)

__all__ = [
    "ROLES",
    "Samples",
    "load_samples",
    "make_samples",
]
