"""Scores of pyDVL and dattri on tiny data, for the tests to compare with; made once.

Run it in an environment of its own, with Python 3.11, from the folder of the repository::

    python -m venv .venv-attribution
    .venv-attribution/bin/python -m pip install -r bench/peers/requirements-attribution.txt
    .venv-attribution/bin/python bench/peers/make_attribution_fixtures.py

It writes ``tests/experiments/fixtures/attribution_peers.json``: data, weights and what each library
said.
"""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path

import numpy as np
import torch
from dattri.algorithm.influence_function import IFAttributorCG, IFAttributorExplicit
from dattri.algorithm.tracin import TracInAttributor
from dattri.task import AttributionTask
from pydvl.influence.torch import CgInfluence
from pydvl.valuation import Dataset, DeterministicUniformSampler, ModelUtility, ShapleyValuation
from pydvl.valuation.methods.knn_shapley import KNNShapleyValuation
from pydvl.valuation.stopping import NoStopping
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

OUT = Path(__file__).parents[2] / "tests" / "fixtures" / "attribution_peers.json"
# pyDVL 0.10 solves for as many goal rows as there are parameters and gives 0 for any beyond; there
# are four parameters here.
ROWS, GOALS, FEATURES, HIDDEN, L2, K = 12, 4, 3, 4, 0.1, 3
bce = nn.functional.binary_cross_entropy_with_logits


def data() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS + GOALS, FEATURES)).round(3)
    y = (x[:, 0] + rng.normal(size=len(x)) > 0).astype(float)
    return {"x": x[:ROWS], "y": y[:ROWS], "goal_x": x[ROWS:], "goal_y": y[ROWS:]}


def tensors(d: dict[str, np.ndarray]) -> tuple[TensorDataset, TensorDataset]:
    made = {name: torch.tensor(values, dtype=torch.float64) for name, values in d.items()}
    return (TensorDataset(made["x"], made["y"][:, None]),
            TensorDataset(made["goal_x"], made["goal_y"][:, None]))  # fmt: skip


def linear(d: dict[str, np.ndarray]) -> nn.Linear:
    """Return the minimum of the mean loss plus l2/2 ||theta||^2, the bias penalised too."""
    model = nn.Linear(FEATURES, 1, dtype=torch.float64)
    train, _ = tensors(d)
    x, y = train.tensors
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=500,
        tolerance_grad=1e-13,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = bce(model(x), y) + L2 / 2 * sum((p**2).sum() for p in model.parameters())
        loss.backward()
        return loss

    for _ in range(20):
        optimizer.step(closure)
    return model


def network(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1)
    return nn.Sequential(*layers).double()


def keras_weights(model: nn.Module) -> list[list]:
    """Return the weights in the order and layout of Keras: kernels are transposed."""
    return [p.detach().numpy().T.tolist() for p in model.parameters()]


def loss_of(model: nn.Module):
    def loss(params, batch):
        x, y = batch
        return bce(torch.func.functional_call(model, params, (x,)), y)

    return loss


def influence(d: dict[str, np.ndarray]) -> dict[str, list]:
    model, (train, goal) = linear(d), tensors(d)
    loaders = DataLoader(train, ROWS), DataLoader(goal, GOALS)
    peer = CgInfluence(model, bce, regularization=L2, rtol=1e-12, atol=1e-14)
    found = {"weights": keras_weights(model)}
    found["pydvl_cg"] = peer.fit(loaders[0]).influences(*goal.tensors, *train.tensors).tolist()
    task = AttributionTask(loss_func=loss_of(model), model=model, checkpoints=model.state_dict())
    for name, made in {
        "dattri_explicit": IFAttributorExplicit(task, regularization=L2),
        "dattri_cg": IFAttributorCG(
            task, max_iter=4, regularization=L2
        ),  # more would divide 0 by 0
    }.items():
        made.cache(loaders[0])
        found[name] = made.attribute(*loaders).detach().tolist()
    return found


def tracin(d: dict[str, np.ndarray]) -> dict[str, list]:
    models, (train, goal), rates = [network(0), network(1)], tensors(d), [0.5, 0.2]
    task = AttributionTask(loss_func=loss_of(models[0]), model=models[0],
                           checkpoints=[m.state_dict() for m in models])  # fmt: skip
    peer = TracInAttributor(task, weight_list=torch.tensor(rates), normalized_grad=False)
    peer.projector_kwargs = None
    loaders = DataLoader(train, 1), DataLoader(goal, 1)
    return {"weights": [keras_weights(m) for m in models], "rates": rates,
            "dattri": peer.attribute(*loaders).detach().tolist()}  # fmt: skip


class MeanLoss:
    """Minus the mean loss on the goal; with no rows, that of a coin."""

    range, name, default = (-np.inf, np.inf), "minus mean loss", -float(np.log(2))

    def __init__(self, d: dict[str, np.ndarray]) -> None:
        self.x, self.y = d["goal_x"], d["goal_y"]

    def __call__(self, model: Logistic) -> float:
        """Return the score of a fitted model."""
        z = model.logit(self.x)
        return -float(np.logaddexp(0, (1 - 2 * self.y) * z).mean())


class Logistic:
    """scikit-learn's logistic regression; one class alone predicts a fixed logit."""

    def fit(self, x: np.ndarray, y: np.ndarray) -> Logistic:
        """Fit, and return itself."""
        self.model = None
        if len(set(y)) > 1:
            self.model = LogisticRegression(C=1.0, tol=1e-12, max_iter=10_000).fit(x, y)
        else:
            self.constant = 2.0 if y[0] else -2.0
        return self

    def logit(self, x: np.ndarray) -> np.ndarray:
        """Return log-odds."""
        if self.model is None:
            return np.full(len(x), self.constant)
        return self.model.decision_function(x)

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return labels."""
        return (self.logit(x) > 0).astype(float)

    def score(self, x: np.ndarray, y: np.ndarray) -> float:
        """Return the share of right labels."""
        return float((self.predict(x) == y).mean())

    def get_params(self, deep: bool = True) -> dict:
        """Return nothing: there is nothing to set."""
        return {}

    def set_params(self, **_: object) -> Logistic:
        """Return itself."""
        return self


def shapley(d: dict[str, np.ndarray]) -> dict[str, list]:
    few = 8  # rows: 256 trainings
    train = Dataset(d["x"][:few], d["y"][:few])
    utility = ModelUtility(Logistic(), MeanLoss(d), catch_errors=False, show_warnings=False)
    peer = ShapleyValuation(utility, DeterministicUniformSampler(), NoStopping(), progress=False)
    values = peer.fit(train).result.sort(key="index").values
    # The value of every subset, so that no test needs the same solver.
    table = {}
    for mask in range(2**few):
        rows = [row for row in range(few) if mask >> row & 1]
        fitted = Logistic().fit(d["x"][rows], d["y"][rows]) if rows else None
        table[mask] = MeanLoss(d)(fitted) if rows else MeanLoss.default
    return {"pydvl": values.tolist(), "values": list(table.values())}


def neighbours(d: dict[str, np.ndarray]) -> dict[str, list]:
    train, goal = Dataset(d["x"], d["y"]), Dataset(d["goal_x"], d["goal_y"])
    peer = KNNShapleyValuation(KNeighborsClassifier(n_neighbors=K), goal, progress=False)
    return {"k": K, "pydvl": peer.fit(train).result.sort(key="index").values.tolist()}


def main() -> None:
    d = data()
    made = {
        "versions": {name: importlib.metadata.version(name)
                     for name in ("pydvl", "dattri", "torch", "numpy", "scikit-learn")},
        "data": {name: values.tolist() for name, values in d.items()},
        "l2": L2,
        "influence": influence(d),
        "tracin": tracin(d),
        "shapley": shapley(d),
        "neighbours": neighbours(d),
    }  # fmt: skip
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
