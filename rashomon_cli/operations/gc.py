"""``rashomon gc``: what nobody needs is deleted for good."""

from __future__ import annotations

from rashomon_cli.core.options import Config, option
from rashomon_cli.store import Store
from rashomon_cli.store.sweep import Swept, sweep


class GcConfig(Config):
    """Options of ``gc``."""

    cache: bool = option(False, "Delete decoded data and predictions too; they are made again.", flag="--cache")
    interrupted: bool = option(False, "Delete interrupted runs too; they cannot be resumed then.", flag="--interrupted")
    dry_run: bool = option(False, "Only say what would be deleted.", flag="--dry-run")


def gc(store: Store, config: GcConfig) -> Swept:
    """Delete the trash, stages that no unfinished run needs, and what crashes left behind.

    Removed runs from which a run of the store was made are spared, so that ``restore`` can bring them back.

    Args:
        store: the store.
        config: the options.

    Returns:
        What was deleted, or would be, and what was spared.
    """
    return sweep(store, cache=config.cache, interrupted=config.interrupted, dry_run=config.dry_run)
