"""The ladder of models, and one way to fit them.

Three rungs (:data:`LADDER`): the article's one-unit linear model, logistic regression,
and a small network with embeddings. A :class:`Trainer` compiles one training loop for a
rung and starts it again from a seed as often as one likes, so that a hundred fits cost
little more than their gradient steps. What comes out is a :class:`Fitted`;
:func:`trained_model` keeps the ones that the notebooks share.
"""

from helpers.models.fitted import Arrays, Fitted, model_inputs
from helpers.models.ladder import LADDER, Kind, MaskedMean
from helpers.models.trained import trained_model
from helpers.models.training import Trainer, epoch_order

__all__ = [
    "LADDER",
    "Arrays",
    "Fitted",
    "Kind",
    "MaskedMean",
    "Trainer",
    "epoch_order",
    "model_inputs",
    "trained_model",
]
