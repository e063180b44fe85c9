"""PyTorch peers beside ``backward``; call: ``worker_torch.py opacus|backpack MODEL ROWS``.

Opacus: the first of the two backward passes of ghost clipping, which gives the norms. BackPACK:
the extension ``BatchL2Grad``. Both compute the weights' gradients by the way. With ``-frozen``
behind the peer's name the embedding tables do not count, in both of norms and step.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import numpy as np
import torch
from shapes import CHECKED_ROWS, SHAPES, WIDTH, Shape, load, serve
from torch import nn

warnings.filterwarnings("ignore")  # of the peers, about hooks


class Click(nn.Module):
    """M1 or M2."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(n, WIDTH) for n in shape.vocabularies])
        pairs = list(zip(shape.widths, shape.widths[1:], strict=False))
        self.layers = nn.ModuleList([nn.Linear(m, n) for m, n in pairs])
        self.bends = nn.ModuleList([nn.ReLU() for _ in pairs[1:]])

    def forward(self, features: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        hidden = torch.cat([features, *(t(ids[:, k]) for k, t in enumerate(self.tables))], 1)
        for layer, bend in zip(self.layers, self.bends, strict=False):
            hidden = bend(layer(hidden))
        return self.layers[-1](hidden)[:, 0]


def losses_of(model: nn.Module, rows: list[torch.Tensor]) -> torch.Tensor:
    """Return one cross-entropy a row."""
    features, ids, y = rows
    logits = model(features, ids)
    return nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="none")


def clear(model: nn.Module) -> None:
    """Forget the gradients."""
    for p in model.parameters():
        p.grad = None


def opacus_norms(model: nn.Module, rows: list[torch.Tensor]) -> Callable[[], np.ndarray]:
    """Return the norms of ghost clipping."""
    from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import (
        GradSampleModuleFastGradientClipping,
    )

    wrapped = GradSampleModuleFastGradientClipping(model, loss_reduction="sum")

    def norms() -> np.ndarray:
        clear(model)
        losses_of(wrapped, rows).sum().backward()
        return wrapped.get_norm_sample().detach().numpy()

    return norms


def backpack_norms(model: nn.Module, rows: list[torch.Tensor]) -> Callable[[], np.ndarray]:
    """Return the norms of the extension ``BatchL2Grad``."""
    from backpack import backpack, extend
    from backpack.extensions import BatchL2Grad

    extend(model)

    def norms() -> np.ndarray:
        clear(model)
        with backpack(BatchL2Grad()):
            losses_of(model, rows).sum().backward()
        squares = [p.batch_l2 for p in model.parameters() if p.requires_grad]
        return torch.stack(squares).sum(0).sqrt().numpy()

    return norms


_PEERS = {"opacus": opacus_norms, "backpack": backpack_norms}


def main(peer: str, name: str, file: str) -> None:
    """Measure a peer on the rows of a file."""
    torch.manual_seed(0)
    torch.set_num_threads(2)
    features, ids, y = (torch.from_numpy(part) for part in load(file))
    rows = [features, ids.long(), y]
    plain, hooked = Click(SHAPES[name]), Click(SHAPES[name])
    hooked.load_state_dict(plain.state_dict())
    kind, _, frozen = peer.partition("-")
    for model in (plain, hooked):
        model.tables.requires_grad_(not frozen)

    def step() -> None:
        clear(plain)
        losses_of(plain, rows).mean().backward()

    def row_norm(i: int) -> float:
        clear(plain)
        losses_of(plain, [part[i : i + 1] for part in rows]).sum().backward()
        return float(sum((p.grad**2).sum() for p in plain.parameters() if p.requires_grad)) ** 0.5

    naive = np.array([row_norm(i) for i in range(CHECKED_ROWS)])
    serve(step, _PEERS[kind](hooked, rows), naive)


if __name__ == "__main__":
    main(*sys.argv[1:])
