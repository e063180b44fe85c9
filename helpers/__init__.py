"""The code that the notebooks share: one room per idea, and imports that go one way.

Data flow from left to right, and a room imports only from rooms to its left::

    base, schema, cache, backend, losses, evaluation
        -> data -> samples -> actions -> models -> gradients -> importance -> experiments
        -> plots -> notebooks -> commands -> exercises

Errors, paths, words, files read with care: ``base``. What tables look like: ``schema``. Results of
slow work, kept until something that made them changes: ``cache``. TensorFlow, kept quiet:
``backend``. What a loss is: ``losses``. Metrics, and how sure they are: ``evaluation``.

From anyone's files or server to tables: ``data``. From tables to rows that a model reads:
``samples``. What to do with scores: ``actions``. The ladder of models: ``models``. Exact
per-sample gradients: ``gradients``. Scores: ``importance``. Whether scores tell the truth, and
whether acting on them helps: ``experiments``.

Figures: ``plots``. What a notebook calls, and what must hold in its file: ``notebooks``. What each
command of ``python -m helpers`` does: ``commands``. Self-checks: ``exercises``.

Start with :func:`helpers.samples.load_samples` and read from left to right.
"""
