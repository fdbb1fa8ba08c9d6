"""Write the store that tests/test_old_stores.py opens: python tests/data/make_store.py FOLDER.

Run it once for each schema of the store's documents and commit the folder as ``schema-N``; it is never written again.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rashomon_cli import Context, Store, Where, connect, probe, prune, train

MODEL = {"model": "mlp(width=8)", "data": "digits(train=200)", "batch_size": 50, "precision": "float32"}


def make(folder: Path) -> None:
    """One run of each kind of operation that reads other runs, with what it reads."""
    store = Store.open(folder, create=True)

    def context(name: str) -> Context:
        return Context(store, Where(device="cpu", name=name))

    train(context("a"), **MODEL, epochs=2, seed=1)
    train(context("b"), **MODEL, epochs=2, seed=2)
    connect(context("path"), a="a", b="b", epochs=1, batch_size=50, points=3, samples="all", precision="float32")
    probe(context("probed"), run="path", what=("loss",), points=3)
    prune(context("pruned"), run="a", epochs=1, batch_size=50, guard_samples=50, precision="float32")
    store.tag("a", ["anchor"])
    for path in folder.iterdir():  # what is made again where it is missing
        if path.name in ("stages", "cache"):
            shutil.rmtree(path)
        elif path.name.startswith("catalog.db"):
            path.unlink()


if __name__ == "__main__":
    make(Path(sys.argv[1]))
