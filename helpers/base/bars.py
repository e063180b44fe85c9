"""When a progress bar is drawn."""

from __future__ import annotations

import os

__all__ = ["bar_delay_s"]

_QUICK_S = 2.0


def bar_delay_s() -> float:
    """Return after how many seconds work is no longer quick, and is shown by a bar.

    Two, or what the environment variable ``TQDM_DELAY`` states: tests and stored notebooks ask
    with it for no bar at all, however slow the machine is. tqdm itself reads the variable only
    where a call names no delay.

    Example:
        >>> bar_delay_s() > 0
        True
    """
    try:
        return float(os.environ.get("TQDM_DELAY", ""))
    except ValueError:
        return _QUICK_S
