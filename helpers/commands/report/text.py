"""The sentences of a run's page that do not depend on its numbers, and how to word those."""

from __future__ import annotations

__all__ = ["ROLES", "SOURCES", "TITLE", "WORDS", "label", "limits", "verdict"]

TITLE = "Which training rows matter, and does acting on it help?"

SOURCES = {
    "journey": "A year of grocery shopping, from the Complete Journey data. Its authors call the "
    "data simulated from real shopping patterns. A row is a product that was promoted in a store "
    "in a week when the household shopped there; it is positive if the household bought the "
    "product that week. Nobody recorded whether the household saw the promotion.",
    "sample": "The small log that comes with the workbook. A program made it, with search and "
    "recommendation pages of an invented shop, so the truth behind every click is known.",
    "csv": "Your own tables, read from files, as your schema.yaml maps them.",
    "mysql": "Your own tables, copied from a MySQL server at one moment, as your schema.yaml maps "
    "them.",
}

ROLES = {
    "train": "learning",
    "attribution": "scores that look at held-out rows",
    "valid": "stopping and choosing",
    "test": "the one final comparison",
}

WORDS = [
    ("AUC", "of two rows, one positive and one not, how often the model puts the positive one "
     "first; 0.5 is guessing, 1 is perfect"),
    ("NDCG", "how far up a user's list the positive rows are; 1 is the best order"),
    ("log loss", "how wrong the predicted probabilities are; lower is better"),
    ("gradient norm", "how hard one row pulls at the model: surprise times leverage"),
    ("interval", "a range that would hold the true difference in about 95 of 100 repeats; if it "
     "holds zero, the data do not show a difference"),
    ("label", "1 if the user took what was shown (clicked, or bought): a positive row; else 0"),
    ("AUROC, of a score", "how often a planted wrong row scores above a right one; 0.5 is "
     "guessing"),
    ("out of fold", "said of predictions by models that saw none of the user's rows"),
    ("rank, of a row", "1 is the row with the highest, or the lowest, importance"),
]  # fmt: skip

_LABELS = {
    "auc": "AUC",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "ndcg": "NDCG",
    "ece": "calibration error",
    "f1": "F1",
    "user_id": "user",
    "household_id": "household",
}

#: Metrics by their names without a depth; of any other one more is better.
_LOWER_IS_BETTER = frozenset(
    {
        *("log_loss", "log_loss_recalibrated", "log_loss_corrected", "loss"),
        *("calibration_error", "ece", "brier", "error"),
    }
)
_NEITHER = frozenset({"base_rate", "mean_prediction", "positive_share"})


def label(name: str) -> str:
    """Return a column's or metric's name for a reader.

    Example:
        >>> label("log_loss"), label("auc"), label("ndcg@10")
        ('log loss', 'AUC', 'NDCG@10')
    """
    stem, at, depth = str(name).partition("@")
    return _LABELS.get(stem, stem.replace("_", " ")) + at + depth


def verdict(metric: str, low: float | None, high: float | None) -> str:
    """Say in plain words what an interval of a difference (after minus before) allows.

    Example:
        >>> verdict("auc", 0.001, 0.004), verdict("log_loss", 0.001, 0.004)
        ('better', 'worse')
        >>> verdict("auc", -0.001, 0.004)
        'no difference that these data can show'
    """
    if low is None or high is None:
        return "not measured"
    if low <= 0 <= high:
        return "no difference that these data can show"
    name = metric.partition("@")[0]
    if name in _NEITHER:
        return "moved up" if low > 0 else "moved down"
    return "better" if (low > 0) != (name in _LOWER_IS_BETTER) else "worse"


def limits(source: str, *, drawn: bool, negatives: bool = False) -> list[str]:
    """Return what a reader must not conclude, for a source and its way of drawing rows.

    Args:
        source: where the tables came from.
        drawn: a part of the rows without a success was drawn.
        negatives: all of them were: the log holds successes only.
    """
    lines = [
        "What would happen in the shop. The comparison looks back at weeks that were set aside; "
        "it is not an experiment with customers, who see other things when the model changes.",
        "That a row with a high score is wrong. Hard, rare and wrong rows score alike. Look at "
        "some before you remove any.",
        "That nothing changed where an interval holds zero. It says that these data cannot tell.",
        "Anything about other shops, seasons or models. The intervals hold the chance in the "
        "random starts and in the users of these test weeks, and no more.",
    ]
    if source == "journey":
        lines.append(
            "What households saw. A promoted product in a visited store counts as shown, and the "
            "data are simulated from real patterns."
        )
    if source == "sample":
        lines.append(
            "Anything about real customers. The log is made by a program, small, and kinder than "
            "real logs: its noise is of known kinds."
        )
    if source in ("csv", "mysql"):
        lines.append(
            "That your tables say what you believe they say. A column that is filled in later, a "
            "clock in another zone or a robot among the users can make any result look good; run "
            "the command check, and ask whoever writes the log."
        )
    if negatives:
        lines.append(
            "What people were shown. The log holds successes only; the rows without one are "
            "products drawn by the workbook, which the user may never have seen. Telling these "
            "apart is easier than ranking what people see."
        )
    if drawn:
        lines.append(
            "How often people buy. Rows without a purchase were drawn, so probabilities describe "
            "the drawn rows."
        )
    return lines
