"""How important is each training sample? One function a score, one table out.

Every score has a question it answers and one it does not; the docstrings say
both. Higher always means "more of it": a larger loss, a longer gradient. The scores of a
*goal* (what would this row do to the loss of other rows?) have one sign: positive is helpful.
"""

from helpers.importance.checkpoints import in_run_shapley, tracin_scores
from helpers.importance.curvature import Curvature, as_float64, conjugate_gradients
from helpers.importance.datamodels import (
    Agreement,
    draw_subsets,
    linear_datamodelling_score,
    subset_correlations,
)
from helpers.importance.dynamics import (
    Dynamics,
    area_under_margin,
    early_errors,
    follow,
    forgetting_events,
    mean_losses,
)
from helpers.importance.errors import output_errors, sample_losses
from helpers.importance.folds import (
    adjusted_margins,
    out_of_fold_losses,
    out_of_fold_probabilities,
)
from helpers.importance.goals import goal_gradient
from helpers.importance.influence import influence_scores
from helpers.importance.inside import (
    activation_norms,
    input_saliency,
    last_activations,
    weight_importance,
)
from helpers.importance.kernel import GradientKernel, PairScores
from helpers.importance.logistic import (
    Logistic,
    converged_logistic,
    logistic_influence,
    logistic_leave_one_out,
)
from helpers.importance.neighbours import knn_shapley
from helpers.importance.pull import early_gradient_norms, gradient_norms
from helpers.importance.rows import RowGradients
from helpers.importance.table import SCORES, importance_table
from helpers.importance.valuation import exact_shapley, leave_one_out

__all__ = [
    "SCORES",
    "Agreement",
    "Curvature",
    "Dynamics",
    "GradientKernel",
    "Logistic",
    "PairScores",
    "RowGradients",
    "activation_norms",
    "adjusted_margins",
    "area_under_margin",
    "as_float64",
    "conjugate_gradients",
    "converged_logistic",
    "draw_subsets",
    "early_errors",
    "early_gradient_norms",
    "exact_shapley",
    "follow",
    "forgetting_events",
    "goal_gradient",
    "gradient_norms",
    "importance_table",
    "in_run_shapley",
    "influence_scores",
    "input_saliency",
    "knn_shapley",
    "last_activations",
    "leave_one_out",
    "linear_datamodelling_score",
    "logistic_influence",
    "logistic_leave_one_out",
    "mean_losses",
    "out_of_fold_losses",
    "out_of_fold_probabilities",
    "output_errors",
    "sample_losses",
    "subset_correlations",
    "tracin_scores",
    "weight_importance",
]
