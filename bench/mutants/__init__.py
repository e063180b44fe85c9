"""Mutants: the code broken in hundreds of small ways, each tried against the room's own tests.

A test that no fault can fail tests nothing. So small faults are planted one at a time, drawn with
a fixed seed, and each must make a test fail. What survives shows a sentence that no test holds, or
a change that changes nothing; those of the second kind are argued in
``bench/results/mutants.yaml``.

``make mutants ROOM=evaluation`` tries one room; ``python -m bench.mutants --help`` tells more.
"""
