"""A finished run: its record, and its files, each compared with its SHA-256 before it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rashomon_cli.core.errors import Damaged, Refused
from rashomon_cli.store import durable
from rashomon_cli.store.records import Artifact, Label, RunRecord

if TYPE_CHECKING:
    import xarray

    from rashomon_cli.core.results import Array, Variable


class Run:
    """One published, immutable result.

    Attributes:
        folder: where its files lie.
        record: the content of ``run.json``.
        label: its name and tags.
    """

    def __init__(self, folder: Path, record: RunRecord, label: Label) -> None:
        self.folder = folder
        self.record = record
        self.label = label

    def __repr__(self) -> str:
        """Name, operation and id."""
        return f"Run({self.name!r}, {self.record.operation}, {self.id})"

    @property
    def id(self) -> str:
        """The run's ULID."""
        return self.record.id

    @property
    def name(self) -> str:
        """The run's present name."""
        return self.label.name

    @property
    def kind(self) -> str:
        """``model``, ``path``, ``measurement`` or ``comparison``."""
        return self.record.kind

    @property
    def metrics(self) -> dict[str, Any]:
        """Headline numbers; NaN is None."""
        return self.record.metrics

    def artifact(self, path: str) -> Artifact:
        """The record of one of the run's files.

        Raises:
            Refused: if the run has no such file.
        """
        for artifact in self.record.artifacts:
            if artifact.path == path:
                return artifact
        raise Refused(f"run {self.name} has no {path}", f"rashomon show {self.name}")

    def verified(self, path: str) -> Path:
        """The path of one of the run's files, once its SHA-256 was compared.

        Raises:
            Damaged: if the file is missing or altered.
            Refused: if the run has no such file.
        """
        artifact = self.artifact(path)
        where = self.folder / path
        hint = "restore the file from a copy, or make the run again with --again"
        try:
            found = durable.sha256(where)
        except FileNotFoundError:
            raise Damaged(f"{path} of run {self.name} is missing", hint) from None
        if found != artifact.sha256:
            raise Damaged(f"{path} of run {self.name} was altered: its SHA-256 does not match run.json", hint)
        return where

    def tensors(self, path: str = "model.safetensors") -> dict[str, Array]:
        """Named arrays of a safetensors file of the run.

        Raises:
            Damaged: if the file is missing or altered.
            Refused: if the run has no such file.
        """
        from rashomon_cli.store import tensors

        return tensors.load(self.verified(path))[0]

    def measurements(self) -> dict[str, dict[str, Variable]]:
        """Every measurement of the run's ``metrics.h5``, by group.

        Raises:
            Damaged: if the file is missing or altered.
            Refused: if the run has none.
        """
        from rashomon_cli.store import hdf5

        return hdf5.load_variables(self.verified("metrics.h5"))

    def dataset(self, group: str | None = None) -> xarray.Dataset:
        """One measurement with its coordinates, units, long names and standard errors (``<name>_stderr``).

        Args:
            group: of ``metrics.h5``, such as ``curve``; the only one where None.

        Returns:
            An ``xarray.Dataset`` in memory.

        Raises:
            UsageError: if there is no such group, or there are several and none was named.
            Refused: if the run has no measurements, or xarray is not installed.
            Damaged: if the file is missing or altered.
        """
        from rashomon_cli.store import datasets

        return datasets.dataset(self.measurements(), group, self.name)
