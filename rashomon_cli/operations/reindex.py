"""``rashomon reindex``: the catalog made anew from the run folders."""

from __future__ import annotations

from rashomon_cli.store import Store


def reindex(store: Store) -> int:
    """Rebuild the catalog.

    Args:
        store: the store.

    Returns:
        The number of runs found, finished or not.
    """
    return store.reindex()
