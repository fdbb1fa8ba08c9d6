"""Where and how an operation runs: nothing here is part of a run's key."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import Config, build, option
from rashomon_cli.sources import data
from rashomon_cli.sources.data import Source
from rashomon_cli.store import Store

if TYPE_CHECKING:
    import torch


class Where(Config):
    """Options of every publishing command that say where and how, not what."""

    name: str | None = option(None, "Name of the new run; made from its content where left out.")
    device: str = option("auto", "Where to compute: auto, cpu, cuda or cuda:N.", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    data_root: Path | None = option(None, "Folder with the files of named data sets (or RASHOMON_DATA).")
    again: bool = option(False, "Make a new run even where this request was already carried out.", flag="--again")


class Progress(Protocol):
    """How an operation tells what it is doing; the command line draws a bar, a library call may keep silent."""

    def start(self, title: str, steps: int) -> None:
        """A new phase of so many steps."""
        ...

    def tick(self, loss: float | None = None) -> None:
        """One step is done."""
        ...

    def tell(self, text: str) -> None:
        """How things stand, in a word or two, until the next word or phase."""
        ...

    def note(self, text: str) -> None:
        """Something that the user should know: a warning, or what was skipped."""
        ...


class Silence:
    """A :class:`Progress` that shows nothing."""

    def start(self, title: str, steps: int) -> None:
        """Nothing is shown."""

    def tick(self, loss: float | None = None) -> None:
        """Nothing is shown."""

    def tell(self, text: str) -> None:
        """Nothing is shown."""

    def note(self, text: str) -> None:
        """Nothing is shown."""


@dataclass
class Context:
    """A store and the circumstances of one call.

    Attributes:
        store: where runs are read and published.
        where: name, device and the like.
        progress: told of every step.
        argv: the command line, for the record.
        notes: what was told to the user, for the record.
    """

    store: Store
    where: Where = field(default_factory=Where)
    progress: Progress = field(default_factory=Silence)
    argv: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _sources: dict[tuple[str, Path | None], Source] = field(default_factory=dict)

    @classmethod
    def open(cls, store: str | Path | None = None, *, create: bool = False, **circumstances: Any) -> Context:
        """Open a store and work in it.

        Args:
            store: its folder; ``RASHOMON_STORE`` or ``./rashomon-store`` where None.
            create: make it where it does not exist.
            circumstances: ``where``, ``progress`` and ``argv``.

        Returns:
            The context.

        Raises:
            NoStore: if there is none and ``create`` is False.
            Damaged: if it was made by a newer version.
        """
        return cls(Store.open(store, create=create), **circumstances)

    def source(self, text: str) -> Source:
        """A data source; its files are looked at once a context, however many runs use them.

        Raises:
            UsageError: if there is no such source or its files are missing.
        """
        key = (text, self.where.data_root)
        if key not in self._sources:
            self._sources[key] = data.resolve(text, self.where.data_root)
        return self._sources[key]

    def begin(self) -> None:
        """Forget what belongs to the last call: its notes, and which files its data were."""
        self.notes.clear()
        self._sources.clear()

    def note(self, text: str) -> None:
        """Tell the user something, and keep it in the run's record."""
        if text not in self.notes:
            self.notes.append(text)
            self.progress.note(text)

    def torch_device(self) -> torch.device:
        """The device to compute on, with TF32 off.

        Raises:
            UsageError: if CUDA was asked for and is not there.
        """
        import torch

        wanted = self.where.device
        available = torch.cuda.is_available()
        if wanted.startswith("cuda"):
            number = int(wanted.partition(":")[2] or 0)
            if not available or number >= torch.cuda.device_count():
                found = f"{torch.cuda.device_count()} CUDA devices" if available else "no CUDA device"
                raise UsageError(f"--device {wanted}: this machine has {found}", "--device cpu")
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        device = torch.device(("cuda" if available else "cpu") if wanted == "auto" else wanted)
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        return device

    def details(self, device: torch.device, arithmetic: str | None = None) -> dict[str, Any]:
        """The fields of ``run.json`` that say how a run was made: argv, notes, code, versions.

        Args:
            device: that computed.
            arithmetic: of the training steps, where there were any: ``bf16`` or ``float32``.

        Returns:
            Values by field.
        """
        made_with = versions(device) | ({"arithmetic": arithmetic} if arithmetic else {})
        return {"argv": self.argv, "notes": list(self.notes), "code": code_state(), "versions": made_with}


C = TypeVar("C", bound=Config)


def asked(context: Context | Store, model: type[C], config: C | None, options: dict[str, Any]) -> tuple[Context, C]:
    """What a library call asks for: a config, or its options as keywords; a context, or a store.

    Args:
        context: store and circumstances, or a store.
        model: the operation's config class.
        config: the options, or None.
        options: fields of ``model`` and of :class:`Where`, where there is no config.

    Returns:
        A context whose notes are empty, and the config.

    Raises:
        UsageError: if an option does not exist or its value does not fit.
        TypeError: if there are a config and options, or no store.
    """
    circumstances = {name: options.pop(name) for name in list(options) if name in Where.model_fields}
    if config is not None and options:
        raise TypeError(f"give a {model.__name__} or options, not both: {', '.join(options)}")
    if isinstance(context, Store):
        context = Context(context, build(Where, circumstances))
    elif not isinstance(context, Context):
        raise TypeError(f"{context!r} is no Store: write Store.open({str(context)!r}, create=True)")
    elif circumstances:
        context = replace(context, where=build(Where, context.where.model_dump() | circumstances))
    context.begin()
    return context, build(model, options) if config is None else config


def versions(device: torch.device) -> dict[str, Any]:
    """Versions, device and threads: "bit for bit" means at equal ones."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "rashomon": version("rashomon-cli"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": version("numpy"),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": device.type,
        "device_name": name,
        "threads": torch.get_num_threads(),
        "platform": sys.platform,
    }


def code_state() -> dict[str, Any]:
    """Git commit of the caller's project and whether it has uncommitted changes; empty outside a checkout."""
    try:
        environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, env=environment, check=True
        ).stdout.strip()
        changes = subprocess.run(
            ["git", "status", "--porcelain", "-uno"],
            capture_output=True,
            text=True,
            timeout=10,
            env=environment,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"commit": commit, "dirty": bool(changes)}
