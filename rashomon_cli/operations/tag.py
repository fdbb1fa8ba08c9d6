"""``rashomon tag``: words that group runs; no hash changes."""

from __future__ import annotations

from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.store import Run, Store


class TagConfig(Config):
    """Arguments of ``tag``."""

    run: str = argument("Name, id, or unique prefix of an id.", metavar="NAME")
    tags: tuple[str, ...] = argument(
        "Tags: letters, digits and . _ + = - only.", metavar="TAG...", min_length=1, names=None
    )
    remove: bool = option(False, "Take the tags away instead.", flag="--remove")


def tag(store: Store, config: TagConfig) -> Run:
    """Give a run tags, or take them away.

    Args:
        store: the store.
        config: the run and the tags.

    Returns:
        The run with its present tags.

    Raises:
        UsageError: if there is no such run, a tag is invalid, or one to take away is not there.
        Damaged: if the run's record or label cannot be read.
    """
    return store.tag(config.run, config.tags, remove=config.remove)
