"""``rashomon restore``: runs come back from the trash."""

from __future__ import annotations

from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.operations.ls import Entry
from rashomon_cli.store import Store, trash


class RestoreConfig(Config):
    """Arguments of ``restore``."""

    runs: tuple[str, ...] = argument(
        "Names, ids, or unique prefixes of ids; lists what is in the trash where left out.",
        default=(),
        metavar="NAME",
        names="trash",
    )
    name: str | None = option(None, "Another name for the run, where its own is taken.")


def restore(store: Store, config: RestoreConfig) -> list[Entry]:
    """Bring runs back from the trash.

    Args:
        store: the store.
        config: which, at least one.

    Returns:
        What came back.

    Raises:
        UsageError: if there is no such run in the trash, several match, its name is taken, or one is given to several.
    """
    return [Entry.of(row) for row in trash.restore(store, config.runs, name=config.name)]


def trashed(store: Store) -> list[Entry]:
    """What is in the trash, oldest first.

    Args:
        store: the store.

    Returns:
        One entry a run.
    """
    return [Entry.of(row) for row in trash.trashed(store)]
