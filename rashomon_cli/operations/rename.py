"""``rashomon rename``: another name for a run; no hash changes."""

from __future__ import annotations

from rashomon_cli.core.options import Config, argument
from rashomon_cli.store import Run, Store


class RenameConfig(Config):
    """Arguments of ``rename``."""

    old: str = argument("Present name or id.", metavar="OLD")
    new: str = argument("New name: letters, digits and . _ + = - only.", metavar="NEW")


def rename(store: Store, config: RenameConfig) -> Run:
    """Give a run another name.

    Args:
        store: the store.
        config: present and new name.

    Returns:
        The run under its new name.

    Raises:
        UsageError: if there is no such run, or the new name is invalid or taken.
    """
    return store.rename(config.old, config.new)
