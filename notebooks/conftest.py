"""What the comparison of stored outputs waits for, however busy the machine is."""

from __future__ import annotations

import pytest

_PATIENCE_S = 600  # nbval's own five seconds are few where other programs run


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the last outputs of a cell take their time; a kernel that died is noticed at once."""
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = _PATIENCE_S
