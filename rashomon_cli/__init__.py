"""Measure the Rashomon set of a trained network.

The operations of the command line as functions:
``from rashomon_cli import Store, train, connect, align, probe, prune, compare``.
Each takes a store (or a :class:`Context`) and its options as keywords, and returns a :class:`Run`.

Names are imported on first use, so that importing the package loads neither torch nor h5py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rashomon_cli.core.errors import RashomonError
    from rashomon_cli.operations.align import AlignConfig, align
    from rashomon_cli.operations.compare import CompareConfig, compare
    from rashomon_cli.operations.connect import ConnectConfig, connect
    from rashomon_cli.operations.context import Context, Where
    from rashomon_cli.operations.export import ExportConfig, export
    from rashomon_cli.operations.import_ import ImportConfig, import_
    from rashomon_cli.operations.modules import load_module
    from rashomon_cli.operations.plot import PlotConfig, plot
    from rashomon_cli.operations.probe import ProbeConfig, probe
    from rashomon_cli.operations.prune import PruneConfig, prune
    from rashomon_cli.operations.sweep import SweepConfig, sweep
    from rashomon_cli.operations.train import TrainConfig, train
    from rashomon_cli.sources.arrays import Data
    from rashomon_cli.store import Run, Store

_HOMES = {
    "AlignConfig": "operations.align",
    "CompareConfig": "operations.compare",
    "ConnectConfig": "operations.connect",
    "Context": "operations.context",
    "Data": "sources.arrays",
    "ExportConfig": "operations.export",
    "ImportConfig": "operations.import_",
    "PlotConfig": "operations.plot",
    "ProbeConfig": "operations.probe",
    "PruneConfig": "operations.prune",
    "RashomonError": "core.errors",
    "Run": "store",
    "Store": "store",
    "SweepConfig": "operations.sweep",
    "TrainConfig": "operations.train",
    "Where": "operations.context",
    "align": "operations.align",
    "compare": "operations.compare",
    "connect": "operations.connect",
    "export": "operations.export",
    "import_": "operations.import_",
    "load_module": "operations.modules",
    "plot": "operations.plot",
    "probe": "operations.probe",
    "prune": "operations.prune",
    "sweep": "operations.sweep",
    "train": "operations.train",
}

__all__ = [
    "AlignConfig",
    "CompareConfig",
    "ConnectConfig",
    "Context",
    "Data",
    "ExportConfig",
    "ImportConfig",
    "PlotConfig",
    "ProbeConfig",
    "PruneConfig",
    "RashomonError",
    "Run",
    "Store",
    "SweepConfig",
    "TrainConfig",
    "Where",
    "align",
    "compare",
    "connect",
    "export",
    "import_",
    "load_module",
    "plot",
    "probe",
    "prune",
    "sweep",
    "train",
]


def __getattr__(name: str) -> object:
    """Import a public name on first use.

    Raises:
        AttributeError: if there is no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
