"""Shared code of the workbook, one room per idea.

Data flows one way, and so do the imports::

    schema -> sources -> samples -> models -> gradients -> importance
           -> actions -> evaluation -> study -> plots -> runs

Start with :func:`helpers.samples.load_samples` and read from left to right.
"""
