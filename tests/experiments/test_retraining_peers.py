"""The scores of a goal are those of pyDVL and dattri, which were asked once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from helpers.backend import keras
from helpers.importance import (
    converged_logistic,
    exact_shapley,
    influence_scores,
    knn_shapley,
    tracin_scores,
)
from helpers.losses import cross_entropy_loss

#: Made by bench/peers/make_attribution_fixtures.py, which says how.
FIXTURE = Path(__file__).parent / "fixtures" / "attribution_peers.json"


@pytest.fixture(scope="module")
def peers():
    return json.loads(FIXTURE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def rows(peers):
    data = {name: np.array(values) for name, values in peers["data"].items()}
    return data["x"], data["y"], (data["goal_x"], data["goal_y"])


def network(weights: list[list]) -> keras.Model:
    """Return dense float64 layers with tanh between them; torch calls a bias a vector too."""
    sizes = [len(bias) for bias in weights[1::2]]
    inputs = keras.Input((len(weights[0]),), dtype="float64")
    layers = [keras.layers.Dense(size, "tanh", dtype="float64") for size in sizes[:-1]]
    layers.append(keras.layers.Dense(sizes[-1], dtype="float64"))
    model = keras.Sequential([inputs, *layers])
    model.set_weights([np.array(w) for w in weights])
    return model


def test_the_converged_fit_is_that_of_torch(peers, rows):
    x, y, _ = rows
    kernel, bias = peers["influence"]["weights"]
    found = converged_logistic(x, y, peers["l2"])
    np.testing.assert_allclose(found.weights, [*np.ravel(kernel), *bias], rtol=1e-6, atol=1e-9)


def test_influence_is_that_of_pydvl_and_dattri(peers, rows):
    x, y, goal = rows
    said = peers["influence"]
    found = influence_scores(
        network(said["weights"]), cross_entropy_loss, x, y, goal, l2=peers["l2"], each=True
    )
    # Both give <goal, H^-1 row>, not divided by the rows; pyDVL in the shape (t, n).
    want = {
        "pydvl_cg": np.array(said["pydvl_cg"]).T / len(x),
        "dattri_explicit": np.array(said["dattri_explicit"]) / len(x),
        "dattri_cg": np.array(said["dattri_cg"]) / len(x),
    }
    for name, values in want.items():
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-8, err_msg=name)


def test_tracin_is_that_of_dattri(peers, rows):
    said, (x, y, goal) = peers["tracin"], rows
    checkpoints = [[np.array(w) for w in weights] for weights in said["weights"]]
    found = tracin_scores(
        network(said["weights"][0]), cross_entropy_loss, x, y, goal, checkpoints, said["rates"],
        each=True,
    )  # fmt: skip
    np.testing.assert_allclose(found, said["dattri"], rtol=1e-5, atol=1e-6)


def test_exact_shapley_values_are_those_of_pydvl(peers):
    said = peers["shapley"]
    table = np.array(said["values"])
    count = len(said["pydvl"])
    found = exact_shapley(lambda chosen: table[int((2**chosen).sum())], count)
    np.testing.assert_allclose(found, said["pydvl"], rtol=1e-6, atol=1e-9)


def test_the_values_of_neighbours_are_those_of_pydvl(peers, rows):
    said, (x, y, goal) = peers["neighbours"], rows
    np.testing.assert_allclose(
        knn_shapley(x, y, *goal, k=said["k"]), said["pydvl"], rtol=1e-10, atol=1e-14
    )


def test_the_fixture_says_which_versions_it_is_from(peers):
    assert set(peers["versions"]) == {"pydvl", "dattri", "torch", "numpy", "scikit-learn"}
