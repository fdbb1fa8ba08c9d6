"""Times of listing and looking up in a large store: python tests/benchmarks/listing.py [RUNS]."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ulid import ULID

from rashomon_cli.store import Parent, RunRecord, Store, seals
from rashomon_cli.store.records import Artifact, Label, Request
from rashomon_cli.store.root import write_marker

REPEATS = 3


def make(root: Path, count: int) -> None:
    """Write a store of so many models as their operations would, but flush nothing."""
    (root / "runs").mkdir(parents=True)
    write_marker(root)
    first = str(ULID.from_datetime(datetime.now(UTC) - timedelta(days=30)))
    data = {"spec": "digits", "fingerprint": "0" * 64, "input_shape": [1, 8, 8], "num_classes": 10, "regression": False}
    for seed in range(count):
        run = str(ULID.from_datetime(datetime.now(UTC) - timedelta(days=20, seconds=count - seed))) if seed else first
        parents = [Parent(id=first, role="init", sha256="0" * 64)] if seed else []
        request = Request(operation="train", config=config(seed), parents=parents, fingerprints={"data": "0" * 64})
        record = RunRecord(
            id=run,
            kind="model",
            operation="train",
            key=request.key,
            config=request.config,
            parents=parents,
            artifacts=[Artifact(path="model.safetensors", sha256="0" * 64, bytes=3, kind="model")],
            metrics={"train_loss": 0.1 + seed / count, "test_accuracy": 0.9 - seed / count / 10, "parameters": 272282},
            builder={"target": "mlp", "arguments": {"width": 8}, "sha256": None},
            data=data,
            argv=["rashomon", "train", "--seed", str(seed)],
            seeds={"seed": seed},
            versions={"rashomon": "0.1.0", "torch": "2.10", "device": "cpu", "threads": 2},
            started="2026-01-01T00:00:00+00:00",
            finished="2026-01-01T00:01:00+00:00",
        )
        folder = root / "runs" / run
        folder.mkdir()
        label = Label(name=f"mlp-digits-s{seed}", tags=["even"] if seed % 2 == 0 else [])
        for name, document in (("request", request), ("run", record), ("label", label)):
            (folder / f"{name}.json").write_bytes(seals.seal(document.model_dump(mode="json")))
        (folder / "model.safetensors").write_bytes(b"123")


def config(seed: int) -> dict[str, object]:
    """Options as those of ``train``."""
    return {"model": "mlp(width=8)", "data": "digits", "loss": "cross-entropy", "seed": seed, "epochs": 24, "lr": 0.1}


def best(act: Callable[[], object]) -> float:
    """The shortest of a few times, in seconds."""
    times = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        act()
        times.append(time.perf_counter() - begun)
    return min(times)


def command(*words: str) -> Callable[[], object]:
    """A command of its own process, its output thrown away."""
    call = [sys.executable, "-m", "rashomon_cli", *words]
    return lambda: subprocess.run(call, stdout=subprocess.DEVNULL, check=True)


def main(count: int) -> None:
    """Print one line a measurement."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "store"
        os.environ["RASHOMON_STORE"] = str(root)
        make(root, count)
        names = ("mlp-digits-s0", f"mlp-digits-s{count // 2}")
        begun = time.perf_counter()
        Store.open(root).reindex()
        print(f"{time.perf_counter() - begun:8.3f} s  reindex of {count} runs")
        for words in (
            ["--help"],
            ["ls"],
            ["ls", "-q"],
            ["ls", "--json"],
            ["ls", "--tag", "even"],
            ["ls", "--where", "test_accuracy>0.85,seed<100"],
            ["ls", "--within", "0.01"],
            ["ls", "--parent", names[0], "-q"],
            ["show", names[1]],
            ["show", names[1], "--json"],
            ["show", names[1], "--lineage"],
        ):
            print(f"{best(command(*words)):8.3f} s  rashomon {' '.join(words)}")
        print(f"{best(lambda: Store.open(root).find(names[1])):8.3f} s  Store.find in a store just opened")
        store = Store.open(root)
        print(f"{best(lambda: store.find(names[1])):8.3f} s  Store.find")
        print(f"{best(lambda: store.finished('train', config(1))):8.3f} s  Store.finished")
        print(f"{best(lambda: list(store.runs())):8.3f} s  Store.runs")
        print(f"{best(command('check')):8.3f} s  rashomon check")
        print(f"{best(command('gc')):8.3f} s  rashomon gc")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
