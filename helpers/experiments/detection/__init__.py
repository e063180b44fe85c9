"""Which importance score tells the truth? Judged where the truth is known.

A :class:`World` is a set of train rows with wrong labels planted into them; the *board* holds
every score of every row (:func:`suspicions`); :func:`detect` says how well each score finds what
was planted, beside the label alone, cleanlab and a ceiling; :func:`rank_stability` whether
another seed would rank alike. Noise goes into train, attribution and valid, never into test.
"""

from helpers.experiments.detection.lab import detect_all
from helpers.experiments.detection.measures import CEILING, detect, judge_board, precision_at
from helpers.experiments.detection.scoreboard import (
    CLEANLAB,
    GOAL_SCORES,
    Budget,
    make_trainer,
    of_goal,
    recommended,
    suspicions,
)
from helpers.experiments.detection.stability import rank_agreement, rank_stability
from helpers.experiments.detection.worlds import World, make_world, own_world

__all__ = [
    "CEILING",
    "CLEANLAB",
    "GOAL_SCORES",
    "Budget",
    "World",
    "detect",
    "detect_all",
    "judge_board",
    "make_trainer",
    "make_world",
    "of_goal",
    "own_world",
    "precision_at",
    "rank_agreement",
    "rank_stability",
    "recommended",
    "suspicions",
]
