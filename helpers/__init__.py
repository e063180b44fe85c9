"""The code that the notebooks share: one room per idea, and imports that go one way.

Data flows from left to right, and a room imports only from rooms to its left::

    schema -> cache -> synthetic, journey, cleaning -> sources
           -> history, features, encoding -> samples
           -> losses -> models -> gradients -> importance -> actions
           -> calibration, ranking, intervals, evaluation -> study -> plots
           -> notebooks -> record -> report -> runs -> checks -> __main__

What tables look like and how they are cleaned: ``schema``, ``cleaning``. Where they come
from: ``sources`` (``journey``, ``synthetic``). Samples and their features, all from before
a cutoff: ``samples`` (``history``, ``features``, ``encoding``). What a loss is:
``losses``. The ladder and how it is fitted: ``models``. Exact per-sample gradients:
``gradients``. Scores: ``importance``. What to do with them: ``actions``; whether it helped:
``study``. Metrics and intervals: ``evaluation``, ``intervals``. Every figure: ``plots``.
What a notebook keeps: ``record``. Running the notebooks and telling about it: ``runs``,
``report``. Exercises: ``checks``.

Start with :func:`helpers.samples.load_samples` and read from left to right.
"""
