"""Every figure of the workbook. A function draws a given table on given axes and computes nothing.

One file a subject; each file's ``__all__`` is exported here.
"""

from helpers.plots.actions import plot_study
from helpers.plots.data import (
    plot_column_auc,
    plot_positive_share,
    plot_roles,
    plot_visible_events,
)
from helpers.plots.detection import (
    plot_detection,
    plot_detection_matrix,
    plot_foretold,
)
from helpers.plots.gradients import plot_cost, plot_pairs, plot_time_parts
from helpers.plots.losses import (
    plot_descent,
    plot_fitted_lines,
    plot_loss_shapes,
    plot_loss_tangent,
)
from helpers.plots.metrics import (
    plot_before_after,
    plot_keep_curve,
    plot_reliability,
    plot_roc,
)
from helpers.plots.models import plot_history, plot_ladder
from helpers.plots.scores import (
    plot_agreement,
    plot_score_groups,
    plot_score_share,
    plot_surprise_leverage,
)
from helpers.plots.style import COLORS, new_axes, use_style

__all__ = [
    "COLORS",
    "new_axes",
    "plot_agreement",
    "plot_before_after",
    "plot_column_auc",
    "plot_cost",
    "plot_descent",
    "plot_detection",
    "plot_detection_matrix",
    "plot_fitted_lines",
    "plot_foretold",
    "plot_history",
    "plot_keep_curve",
    "plot_ladder",
    "plot_loss_shapes",
    "plot_loss_tangent",
    "plot_pairs",
    "plot_positive_share",
    "plot_reliability",
    "plot_roc",
    "plot_roles",
    "plot_score_groups",
    "plot_score_share",
    "plot_study",
    "plot_surprise_leverage",
    "plot_time_parts",
    "plot_visible_events",
    "use_style",
]
