"""Does acting on importance help? Paired trainings, with and without planted noise.

A study takes some train rows, scores them, turns the scores into plans, and
trains every plan from the same seeds for the same number of updates. Plans are
compared on ``valid``; one is confirmed on ``test``. Planted noise flips labels
of train and of what plans are chosen by (valid, and the attribution rows that
recalibrate it), never of test.

A :class:`Comparison` is one model on one version of the data; an :class:`Arm` is one plan
trained from every seed and judged; :func:`run_study` compares all arms.
"""

from helpers.experiments.study.arms import (
    CONFIRMED,
    CORRECTED,
    QUICK,
    Arm,
    compare,
    judge,
    read_arm,
    write_arm,
)
from helpers.experiments.study.comparison import Comparison, Settings
from helpers.experiments.study.keep import FRACTIONS, OutOfFold, keep_curve
from helpers.experiments.study.plans import (
    ACTIONS,
    ORACLE,
    REFERENCES,
    make_plans,
    suspects,
)
from helpers.experiments.study.recommend import act_as_recommended
from helpers.experiments.study.whole import confirm, run_study
from helpers.experiments.ways import SUSPECTS, WAYS, Treatment, Way

__all__ = [
    "ACTIONS",
    "CONFIRMED",
    "CORRECTED",
    "FRACTIONS",
    "ORACLE",
    "QUICK",
    "REFERENCES",
    "SUSPECTS",
    "WAYS",
    "Arm",
    "Comparison",
    "OutOfFold",
    "Settings",
    "Treatment",
    "Way",
    "act_as_recommended",
    "compare",
    "confirm",
    "judge",
    "keep_curve",
    "make_plans",
    "read_arm",
    "run_study",
    "suspects",
    "write_arm",
]
