"""The code that the notebooks share: one room per idea, and imports that go one way.

Data flows from left to right, and a room imports only from rooms to its left::

    schema -> code, files -> cache, shelf, digests -> mapping
           -> synthetic, journey, foreign -> cleaning -> reading, database
           -> mysql_server -> assembly, copies -> staging -> drawing -> sources
           -> history, features, encoding -> labels, negatives -> samples
           -> drafting, audit, serving -> noise
           -> losses, denoising -> models -> gradients -> importance
           -> attribution -> actions
           -> calibration, ranking, intervals, evaluation -> judging -> study -> verdict
           -> plots -> interactive
           -> notebooks -> record, recorded -> report -> runs -> checks -> __main__

What tables look like: ``schema``; what is what in a person's own: ``mapping``. What a person,
or somebody else's folder, gives as a small file: ``files``; what is kept without any code in it:
``cache``, ``shelf``; whether a copy of tables is one: ``copies``; what a run's folder says:
``recorded``. How tables come
in, piece by piece: ``reading`` (files), ``database`` (MySQL), ``cleaning``, ``staging``; whom to
look at: ``drawing``; all of it: ``sources``. Samples and their features, all from before a
cutoff: ``samples`` (``labels``, ``negatives``, ``history``, ``features``, ``encoding``). The
commands about own data: ``drafting`` (init), ``audit`` (check), ``serving`` (mysql). What a
What makes a kept result old: ``code``, ``digests``, ``precision``. What a
loss is: ``losses``; losses that suspect themselves: ``denoising``. The ladder and how it is
fitted: ``models``. Exact per-sample gradients: ``gradients``. Scores: ``importance``; whether
they foretell what retraining gives: ``attribution``; wrong labels planted to judge them:
``noise``. What to do with scores: ``actions``. Metrics and intervals:
``evaluation``, ``intervals``. Which score tells the truth: ``judging``; whether acting helped:
``study``; what follows: ``verdict``. Every figure: ``plots``;
those that a reader can move: ``interactive``. What a notebook keeps: ``record``. Running the
notebooks and telling about it: ``runs``, ``report``. Exercises: ``checks``.

Start with :func:`helpers.samples.load_samples` and read from left to right.
"""
