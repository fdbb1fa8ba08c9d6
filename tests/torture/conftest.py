"""What these tests share: fingerprints of runs, small requests, and the harness that kills processes."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from rashomon_cli.store import Store

HERE = Path(__file__).parent


def _load(name):
    spec = importlib.util.spec_from_file_location(f"_torture_{name}", HERE / f"{name}.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def digest():
    """digest(folder): SHA-256 over names and contents of all files below it."""
    return _load("crash").digest


@pytest.fixture(scope="session")
def mutations():
    """The module that damages files."""
    return _load("mutations")


@pytest.fixture
def fingerprints(digest):
    """fingerprints(store): the digest of every finished run by id, in the store or in its trash."""

    def act(store):
        found = [path.parent for where in ("runs", "trash") for path in (Path(store) / where).glob("**/run.json")]
        assert len({folder.name for folder in found}) == len(found)
        return {folder.name: digest(folder) for folder in found}

    return act


@pytest.fixture
def sums():
    """sums(store, id): a fingerprint by name of each file that a run has published."""
    published = _load("crash").published
    return lambda store, run: published(Path(store), [run])[0]


@pytest.fixture(scope="session")
def _pair_once(tmp_path_factory, tiny_config):
    from rashomon_cli.operations.train import train

    root = tmp_path_factory.mktemp("pair") / "store"
    for seed, name in enumerate("ab"):
        train(Store.open(root, create=True), **tiny_config.model_dump() | {"seed": seed, "epochs": 1, "name": name})
    return root


@pytest.fixture
def pair(_pair_once, tmp_path):
    """The folder of a store of one's own with two trained models, ``a`` and ``b``, that nobody else has open."""
    shutil.copytree(_pair_once, tmp_path / "rashomon-store")
    return tmp_path / "rashomon-store"
