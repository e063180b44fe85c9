"""Samples from a log that holds successes only: what else could have been taken?

Nobody recorded what a user was shown. So for each success some other products are
drawn that were on sale then and that the user did not take in the same period.
They are candidates, not refusals: the user may never have seen them.

Every draw is a digest of the seed, the user, the product taken, the period and the
number of the draw. So a user"s draws depend neither on which other users there are,
nor on the order of rows, nor on what happened later.
"""

from helpers.samples.negatives.drawing import Drawn, draw_samples

__all__ = ["Drawn", "draw_samples"]
