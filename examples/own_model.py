"""A network and data of one's own, from Python: two trainings, a path between them, what lies along it, a pruning.

The data are token sequences; the class is the token that occurs most often. The network is a small transformer. Neither
is known to the package: the store keeps the two functions' names and the SHA-256 of this file.

Run it with ``python examples/own_model.py [FOLDER]`` (needs ``pip install 'rashomon-cli[xarray]'``); about a minute on two cores.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rashomon_cli import Data, Store, compare, connect, load_module, probe, prune, train

TOKENS, LENGTH = 5, 15


class Transformer(nn.Module):
    """Embeddings, one block of self-attention, and the mean over positions; the output weights are the embeddings."""

    def __init__(self, width, heads):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, width)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.hidden = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.head = nn.Linear(width, TOKENS, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.hidden(x)).mean(1))


def network(width=16, heads=2):
    """A builder: any function that returns a module; ``--model examples/own_model.py:network(width=32)`` in the shell."""
    return Transformer(width, heads)


def sequences(seed=0, train=2000, test=1000, skew=1.0):
    """A data source: any function that returns Data; ``--data examples/own_model.py:sequences`` in the shell."""
    chooser = np.random.default_rng(seed)
    shares = chooser.dirichlet(np.full(TOKENS, skew), size=train + test)
    tokens = np.stack([chooser.choice(TOKENS, LENGTH, p=share) for share in shares])
    counts = np.stack([(tokens == token).sum(1) for token in range(TOKENS)], 1)
    labels = counts.argmax(1)
    return Data(tokens[:train], labels[:train], tokens[train:], labels[train:])


def main(folder):
    """The five commands as functions, and what they return."""
    here = Path(__file__).resolve()
    store = Store.open(folder, create=True)
    options = {"model": f"{here}:network", "data": f"{here}:sequences", "epochs": 12, "lr": 0.05}
    a, b = (train(store, **options, seed=seed, name=f"own-s{seed}") for seed in (1, 2))
    print(f"test accuracy {a.metrics['test_accuracy']:.3f} and {b.metrics['test_accuracy']:.3f}")

    path = connect(store, a=a, b=b, bend=1, epochs=12, points=9, samples="all", name="own-path")
    curve, line = path.dataset("curve"), path.dataset("line")
    print(
        f"barrier of the line {path.metrics['line_barrier_loss']:.3f} nats, of the curve {path.metrics['curve_barrier_loss']:.3f}"
    )
    print(
        f"highest training loss on the curve at t = {float(curve.train_loss.idxmax()):.3f}, on the line at t = {float(line.train_loss.idxmax()):.3f}"
    )

    measured = probe(store, run=path, points=3, what="loss,hvp", hvp_samples=500, name="own-probe").dataset()
    for t in measured.t.values:
        here_ = measured.sel(t=t)
        print(
            f"t = {t:.1f}: curvature along the tangent {float(here_.curvature_tangent):.2g} ± {float(here_.curvature_tangent_stderr):.1g}, "
            f"largest eigenvalue {float(here_.eigenvalue_max):.3g}"
        )

    small = prune(store, run=a, l1=1e-4, thr=0.02, name="own-pruned")
    print(
        f"pruned: {small.metrics['sparsity']:.0%} of the weights gone, test accuracy {small.metrics['test_accuracy']:.3f}"
    )

    alike = compare(store, models=[a, b, small], ood=f"{here}:sequences(seed=1, skew=0.3)", name="own-alike")
    print(
        f"cosine of predictions on other sequences: {alike.metrics['cosine_min']:.4f} to {alike.metrics['cosine_max']:.4f}"
    )

    middle = load_module(store, "own-path@0.5")  # a torch.nn.Module in eval mode, BatchNorm refreshed where it has any
    examples = sequences(seed=2, train=1, test=500)
    with torch.no_grad():
        outputs = middle(torch.from_numpy(examples.x_test))
    accuracy = (outputs.argmax(1).numpy() == examples.y_test).mean()
    print(f"the model in the middle of the path, on sequences that it has not seen: {accuracy:.3f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "rashomon-store")
