"""Where the files of a named data set are, and what to say when they are nowhere."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from pathlib import Path

from rashomon_cli.core.errors import UsageError


def root(data_root: Path | None) -> Path:
    """The folder of data files: the one given, else ``RASHOMON_DATA``, else a folder in the user's cache."""
    return data_root or Path(os.environ.get("RASHOMON_DATA") or Path.home() / ".cache" / "rashomon" / "data")


def download(name: str, where: Path, fetch: Callable[[], object]) -> None:
    """Fetch a data set with torchvision's own downloader, its progress on stderr.

    Args:
        name: the data set, for the message.
        where: the folder that will hold it.
        fetch: does the download.

    Raises:
        UsageError: if it cannot be had, with the way out.
    """
    import sys

    try:
        where.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr if sys.stderr.isatty() else io.StringIO()):
            fetch()
    except (OSError, RuntimeError) as error:
        hint = f"put its files under {where}, or name their folder with --data-root or RASHOMON_DATA"
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageError(f"{name} is not on this machine and cannot be downloaded: {reason}", hint) from None
