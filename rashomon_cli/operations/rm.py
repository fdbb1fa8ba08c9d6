"""``rashomon rm``: runs go to the trash, and come back from there until it is emptied."""

from __future__ import annotations

from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.operations.ls import Entry
from rashomon_cli.store import Store
from rashomon_cli.store.trash import remove


class RmConfig(Config):
    """Arguments of ``rm``."""

    runs: tuple[str, ...] = argument("Names, ids, or unique prefixes of ids.", metavar="NAME...", min_length=1)
    force: bool = option(False, "Even where runs were made from it, which lose their parent then.", flag="--force")


def rm(store: Store, config: RmConfig) -> list[Entry]:
    """Move runs to the trash: finished, interrupted or damaged ones.

    Args:
        store: the store.
        config: which.

    Returns:
        What was moved.

    Raises:
        UsageError: if there is no such run.
        Refused: if runs that stay were made from them.
        Busy: if one is being carried out.
    """
    return [Entry.of(row) for row in remove(store, config.runs, force=config.force)]
