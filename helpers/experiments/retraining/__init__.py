"""Are the scores of a goal right? They foretell what other training rows lead to; train and see.

``case`` draws the rows, ``halves`` trains on many random halves of them, ``pairs`` scores every
pair of a training row and a goal row, ``single`` leaves out one row at a time, and ``table`` brings
it together: :func:`attribution_table`.
"""

from helpers.experiments.retraining.case import AttributionSettings, Case
from helpers.experiments.retraining.halves import retrain_halves
from helpers.experiments.retraining.pairs import PAIR_SCORES, pair_scores
from helpers.experiments.retraining.single import leaving_out_table
from helpers.experiments.retraining.table import attribution_table, halves_table

__all__ = [
    "PAIR_SCORES",
    "AttributionSettings",
    "Case",
    "attribution_table",
    "halves_table",
    "leaving_out_table",
    "pair_scores",
    "retrain_halves",
]
