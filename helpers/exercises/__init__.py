"""Self-checks of the exercises: a verdict in words, with a hint that fits the mistake.

``check_NN_K`` judges exercise K of notebook NN. It returns one sentence or two, which
begin with ``Correct``, ``Not yet`` or ``Still empty``, and it never raises: an answer
that fails says why.
"""

from helpers.exercises.data import LEAK_CANDIDATES, check_00_1, check_01_1, check_01_2, check_01_3
from helpers.exercises.detection import check_08_1, check_08_2, check_08_3
from helpers.exercises.losses import PULLS, check_02_1, check_02_2, check_02_3, check_02_4
from helpers.exercises.models import (
    check_03_1,
    check_03_2,
    check_03_3,
    check_04_1,
    check_04_2,
    check_04_3,
    check_05_1,
    check_05_2,
    check_05_3,
    check_06_1,
    check_06_2,
    check_06_3,
)
from helpers.exercises.own_data import FATES, check_07_1, check_07_2, check_07_3
from helpers.exercises.own_model import check_04_4

__all__ = [
    "FATES",
    "LEAK_CANDIDATES",
    "PULLS",
    "check_00_1",
    "check_01_1",
    "check_01_2",
    "check_01_3",
    "check_02_1",
    "check_02_2",
    "check_02_3",
    "check_02_4",
    "check_03_1",
    "check_03_2",
    "check_03_3",
    "check_04_1",
    "check_04_2",
    "check_04_3",
    "check_04_4",
    "check_05_1",
    "check_05_2",
    "check_05_3",
    "check_06_1",
    "check_06_2",
    "check_06_3",
    "check_07_1",
    "check_07_2",
    "check_07_3",
    "check_08_1",
    "check_08_2",
    "check_08_3",
]
