"""What one can do with scores: weight, drop, draw, relabel, or change the learning rate.

An action turns scores into a :class:`Plan` and knows nothing about how the
scores came about. Every plan spends the same number of updates, so that plans
differ only in *which* rows they spend them on.
"""

from helpers.actions.draws import importance_sampling, resample
from helpers.actions.drops import drop_highest, drop_marked, drop_random, drop_stratified
from helpers.actions.plan import Plan, draw_order, uniform
from helpers.actions.subsets import balanced_chances, keep, keep_drawn, teach
from helpers.actions.weights import (
    denoise,
    per_sample_rate,
    relabel,
    soft_down_weight,
    trust_weight,
    up_weight,
)

__all__ = [
    "Plan",
    "balanced_chances",
    "denoise",
    "draw_order",
    "drop_highest",
    "drop_marked",
    "drop_random",
    "drop_stratified",
    "importance_sampling",
    "keep",
    "keep_drawn",
    "per_sample_rate",
    "relabel",
    "resample",
    "soft_down_weight",
    "teach",
    "trust_weight",
    "uniform",
    "up_weight",
]
