"""Waiting in tests: for what is asked to happen, and never for a time that should be enough."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

#: The last resort, in seconds: what has not come by then never comes, however busy the machine.
PATIENCE_S = 600.0

T = TypeVar("T")

# Signals that are ignored stay so in every process that is started, and so does what is blocked:
# a suite that a script starts in the background ignores Ctrl-C, one under nohup a closed terminal.
_TYPED = """
import os, signal, sys
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGALRM", "SIGCHLD", "SIGPIPE"):
    signal.signal(getattr(signal, name), signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, ())
os.umask(0o022)
os.execv(sys.argv[1], sys.argv[1:])
"""


def awaited(done: Callable[[], T], *, every_s: float = 0.05) -> T:
    """Ask again and again; return the first true answer, or the last one when patience is over.

    Example:
        >>> answers = iter([0, "", "here"])
        >>> awaited(lambda: next(answers), every_s=0)
        'here'
    """
    end = time.monotonic() + PATIENCE_S
    while not (answer := done()) and time.monotonic() < end:
        time.sleep(every_s)
    return answer


def ended(process: int) -> bool:
    """Return whether a process has ended, also where nobody has asked for its exit code."""
    try:
        return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def gone(process: int) -> bool:
    """Wait until a process has ended; return whether it has."""
    return awaited(lambda: ended(process))


def as_typed(*words: object) -> list[str]:
    """Return a command that starts as one typed on a terminal does.

    No signal is ignored or blocked, and all may read what it writes, however the tests were
    started. The process keeps its number.
    """
    return [sys.executable, "-I", "-S", "-c", _TYPED, *map(str, words)]
