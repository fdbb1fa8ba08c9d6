"""``rashomon check``: whatever is wrong with the files of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.store import Store, checks
from rashomon_cli.store.findings import Report

if TYPE_CHECKING:
    from rashomon_cli.operations.context import Progress


class CheckConfig(Config):
    """Arguments of ``check``."""

    runs: tuple[str, ...] = argument(
        "Names, ids, or unique prefixes of ids; everything where left out.", default=(), metavar="NAME"
    )
    read_data: bool = option(False, "Read every file and compare its SHA-256.", flag="--read-data")


def check(store: Store, config: CheckConfig, progress: Progress | None = None) -> Report:
    """Compare the files of a store with each other; nothing is changed.

    Args:
        store: the store.
        config: which runs, and how thoroughly.
        progress: told of every run.

    Returns:
        What was found.

    Raises:
        UsageError: if there is no such run.
    """
    if progress is not None:
        progress.start("check", len(config.runs) or len(store.names()))
    tick = None if progress is None else progress.tick
    return checks.check(store, config.runs, read_data=config.read_data, tick=tick)
