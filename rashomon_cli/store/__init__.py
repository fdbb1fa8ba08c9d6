"""Run directories, safetensors and HDF5 files, and the SQLite catalog over them. No torch computation."""

from rashomon_cli.store.job import Job
from rashomon_cli.store.records import Parent, RunRecord
from rashomon_cli.store.run import Run
from rashomon_cli.store.store import Store

__all__ = ["Job", "Parent", "Run", "RunRecord", "Store"]
