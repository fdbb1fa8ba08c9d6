"""What many tests need: a store in a temporary folder, runs that cost nothing, one tiny model, the command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import hypothesis
import numpy as np
import pytest

from rashomon_cli.core.results import series
from rashomon_cli.operations.context import Context, Where
from rashomon_cli.store import Parent, Store

os.environ["OMP_NUM_THREADS"] = "1"
hypothesis.settings.register_profile(
    "here",
    deadline=None,
    max_examples=40,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("here")


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "store", create=True)


@pytest.fixture
def context(store):
    return Context(store, Where(device="cpu"))


@pytest.fixture
def publish():
    """Publish a run without computing anything."""

    def act(
        store, name=None, *, operation="fake", kind="model", parents=(), metrics=None, weights=(1.0, 2.0), **config
    ):
        config = config or {"name": name}
        links = [Parent(id=run.id, role=role, t=t) for run, role, t in parents]
        job = store.begin(operation, config, parents=links, name=name)
        return job.publish(
            kind,
            metrics=metrics or {"test_accuracy": 0.5},
            measurements={"profile": {"loss": series("t", [0.5, 0.25], "nat", "loss")}},
            tensor_files={"model.safetensors": ({"w": np.array(weights)}, {})},
        )

    return act


@pytest.fixture(scope="session")
def tiny_config():
    from rashomon_cli.operations.train import TrainConfig

    return TrainConfig(model="mlp(width=8)", data="digits(train=200)", epochs=2, batch_size=50, precision="float32")


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory, tiny_config):
    from rashomon_cli.operations.train import train

    root = tmp_path_factory.mktemp("trained") / "store"
    train(Context(Store.open(root, create=True), Where(device="cpu", name="tiny")), tiny_config)
    return root


@pytest.fixture
def trained(_trained_once, tmp_path):
    """A store of one's own with one trained model, ``tiny``."""
    shutil.copytree(_trained_once, tmp_path / "trained")
    return Store.open(tmp_path / "trained")


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def rashomon(tmp_path, monkeypatch, capfd):
    """Call the command line in this process, in an empty folder."""
    from rashomon_cli.cli.app import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RASHOMON_STORE", raising=False)

    def call(*arguments):
        capfd.readouterr()
        return Outcome(main([str(a) for a in arguments]), *capfd.readouterr())

    return call


@pytest.fixture
def start(tmp_path):
    """Start the command line, or a piece of Python, in a process of its own."""
    started = []

    def begin(*arguments, python=None, cwd=tmp_path, **environment):
        command = [sys.executable, "-c", python] if python else [sys.executable, "-m", "rashomon_cli"]
        source = str(Path(__file__).parents[1])
        variables = {**os.environ, "PYTHONPATH": source, **environment}
        variables = {key: value for key, value in variables.items() if key != "RASHOMON_STORE"}
        # A shell's background job ignores Ctrl-C, and so would a process that is started from one.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            cwd=cwd,
            env=variables,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        signal.signal(signal.SIGINT, before)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()
