"""How strongly each training sample pulls on the model: per-sample gradient norms.

Sample ``i`` has the loss ``l_i`` and the gradient ``g_i = dl_i / dtheta`` by all
trainable parameters. Its length ``||g_i||`` is the importance score of the
article. There are three ways to it, from slow and plain to fast and general:

- ``naive_norms``: one ``GradientTape`` per sample. Every other way is checked against it.
- ``dense_gradient_norms``: the formula for one dense layer, so for linear and logistic models.
- ``PerSampleGradients``: a whole batch for about the price of one gradient step.

How the third one works is told where it happens, in this order: ``flow`` (all of it in one
screen), ``tracing`` (one flat graph; loops and functions in it: ``loops``, ``inside``), ``uses``
(who reads a variable), ``places`` (where its rows stand), ``rules`` (one equation an operation),
``pullback`` and ``row_functions`` (variables read through functions) and ``forms`` (the norm of a
gradient that is never written out).

Why one may trust it: ``row_loss`` and ``link`` (the loss is one of single rows, and takes what the
model gives), ``certificate`` (the rows are independent, proved on a batch), ``looks`` (and looked
at again later), ``watched`` and ``traces`` (nothing in Python has changed since).

``streams`` (in a fixed order: ``order``) and ``kept`` bring in any number of rows and keep their
norms in a file, which is gone on with under the same ``fingerprint`` only. It and ``watched`` look
into objects by ``contents``, ``attributes``, ``code`` and ``libraries``.
"""

from helpers.gradients.dense import dense_gradient_norms
from helpers.gradients.engine import PerSampleGradients
from helpers.gradients.naive import naive_gradients, naive_norms
from helpers.gradients.uses import UnsupportedOperation

__all__ = [
    "PerSampleGradients",
    "UnsupportedOperation",
    "dense_gradient_norms",
    "naive_gradients",
    "naive_norms",
]
