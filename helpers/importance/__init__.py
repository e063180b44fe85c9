"""How important is each training sample? One function a score, one table out.

Every score has a question it answers and one it does not; the docstrings say
both. Higher always means "more of it": a larger loss, a longer gradient.
"""

from helpers.importance.errors import output_errors, sample_losses
from helpers.importance.folds import out_of_fold_errors
from helpers.importance.inside import activation_norms, input_saliency, weight_importance
from helpers.importance.pull import early_gradient_norms, gradient_norms
from helpers.importance.table import SCORES, importance_table

__all__ = [
    "SCORES",
    "activation_norms",
    "early_gradient_norms",
    "gradient_norms",
    "importance_table",
    "input_saliency",
    "out_of_fold_errors",
    "output_errors",
    "sample_losses",
    "weight_importance",
]
