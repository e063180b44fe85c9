"""The peak memory of a process: of its own, whatever the process that started it has held."""

from __future__ import annotations

import subprocess
import sys

# What getrusage says on Linux is inherited from the process before.
_TELL = """
import pathlib, resource
status = pathlib.Path("/proc/self/status")
if status.exists():
    peak = int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(peak)
"""


def peak_mb(code: str, *arguments: object, said: str = "") -> tuple[str, float]:
    """Run code in a process of its own.

    Args:
        code: what it runs; it prints one line.
        arguments: its ``sys.argv`` from 1 on.
        said: its standard input.

    Returns:
        The line, and the most memory that the process held, in megabytes.
    """
    words = [sys.executable, "-c", code + _TELL, *map(str, arguments)]
    done = subprocess.run(words, check=True, capture_output=True, text=True, input=said)
    line, peak = done.stdout.splitlines()
    return line, float(peak)
