"""A run under way: a locked folder with its request, parts that survive an interruption, and one act of publishing."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rashomon_cli.core.errors import Refused
from rashomon_cli.store import durable, records
from rashomon_cli.store.locks import FolderLock
from rashomon_cli.store.parts import LockedParts, Stage
from rashomon_cli.store.records import Artifact, Kind, Label, Request, RunRecord, clean
from rashomon_cli.store.run import Run
from rashomon_cli.store.stages import note_stage, open_stage

if TYPE_CHECKING:
    from rashomon_cli.core.results import Array, Metric, Variable


class Job(LockedParts):
    """A run that this process carries out and no other can.

    Attributes:
        id: the ULID of the run to be.
        folder: its folder.
        request: what was asked.
        label: the reserved name.
        resumed: whether an earlier process began it.
    """

    def __init__(
        self,
        folder: Path,
        request: Request,
        label: Label,
        lock: FolderLock,
        *,
        stages: Path,
        on_publish: Callable[[Run], None],
        on_refusal: Callable[[], None],
        resumed: bool,
    ) -> None:
        super().__init__(folder / "parts", lock)
        self.id = folder.name
        self.folder = folder
        self.request = request
        self.label = label
        self.resumed = resumed
        self._stages = stages
        self._on_publish = on_publish
        self._on_refusal = on_refusal
        self._started = _now()

    def __exit__(self, *error: object) -> None:
        """Give the lock back; a run that was refused before anything of it was saved leaves no trace."""
        traceless = not self._parts_folder.exists() and not (self.folder / "run.json").exists()
        if error[0] is not None and traceless:
            self._clear()
            self._on_refusal()
        super().__exit__(*error)

    def _clear(self) -> None:
        """Delete the folder, the request last: a crash in between leaves a run that can be resumed."""
        with contextlib.suppress(OSError):
            for path in sorted(self.folder.iterdir(), key=lambda path: path.name == "request.json"):
                path.unlink()
            self.folder.rmdir()

    def stage(self, recipe: Mapping[str, Any]) -> Stage:
        """The locked stage of a recipe, and a durable note that this run needs it until it is published.

        Args:
            recipe: JSON values that determine the computation.

        Returns:
            Its parts, whoever saved them.

        Raises:
            Busy: if another process works on it.
            OSError: if the disk refuses.
        """
        stage = open_stage(self._stages, recipe)
        try:
            note_stage(self._parts_folder, stage.key)
        except BaseException:
            stage.release()
            raise
        return stage

    def require(self, size: int) -> None:
        """Refuse to begin where the disk has less space than the run will need.

        Args:
            size: bytes.

        Raises:
            Refused: if there is less.
        """
        free = shutil.disk_usage(self.folder).free
        if free < size:
            hint = "free some space, or name another --store"
            raise Refused(f"the run needs {size / 2**20:.0f} MiB of disk, {free / 2**20:.0f} MiB are free", hint)

    def publish(
        self,
        kind: Kind,
        *,
        metrics: Mapping[str, Metric],
        measurements: Mapping[str, Mapping[str, Variable]],
        tensor_files: Mapping[str, tuple[Mapping[str, Array], Mapping[str, Any]]] | None = None,
        **details: Any,
    ) -> Run:
        """Write the artifacts, then ``run.json``, then the catalog row, and give the lock back.

        Args:
            kind: what the run is.
            metrics: headline numbers.
            measurements: variables by group, for ``metrics.h5``.
            tensor_files: for each file name, its arrays and header.
            details: further fields of :class:`RunRecord` (builder, data, seeds, versions …).

        Returns:
            The finished run.

        Raises:
            OSError: if the disk refuses; the job can be resumed then.
        """
        from rashomon_cli.store import hdf5, tensors

        names: list[tuple[str, str]] = []
        for name, (arrays, header) in (tensor_files or {}).items():
            tensors.save(self.folder / name, arrays, header)
            names.append((name, name.removesuffix(".safetensors")))
        if measurements:
            hdf5.save_variables(self.folder / "metrics.h5", measurements)
            names.append(("metrics.h5", "metrics"))
        artifacts = [
            Artifact(path=name, sha256=durable.sha256(path), bytes=path.stat().st_size, kind=artifact_kind)
            for name, artifact_kind in names
            for path in [self.folder / name]
        ]
        record = RunRecord(
            id=self.id,
            kind=kind,
            operation=self.request.operation,
            key=self.request.key,
            config=self.request.config,
            parents=self.request.parents,
            artifacts=artifacts,
            metrics=clean(dict(metrics)),
            started=self._started,
            finished=_now(),
            **details,
        )
        records.write(self.folder / "run.json", record)
        shutil.rmtree(self.folder / "parts", ignore_errors=True)
        run = Run(self.folder, record, self.label)
        self._on_publish(run)
        self.release()
        return run


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
