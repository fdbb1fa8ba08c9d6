"""What the shell offers for the names of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rashomon_cli.store import Store


def run_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of finished runs that begin so, each with what it is; none where there is no store.

    Args:
        context: the command line so far.
        incomplete: what was typed of the name.

    Returns:
        Pairs of name and words.
    """
    return _offered(context, incomplete, lambda store: store.rows("finished = 1"))


def trashed_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of removed runs that begin so, as :func:`run_names`."""
    from rashomon_cli.store.trash import trashed

    return _offered(context, incomplete, trashed)


def _offered(
    context: typer.Context, incomplete: str, rows_of: Callable[[Store], list[dict[str, Any]]]
) -> list[tuple[str, str]]:
    from rashomon_cli.store import Store

    try:
        rows = rows_of(Store.open(context.params.get("store")))
    except Exception:  # whatever it is, a completion is no place to tell
        return []
    return [(r["name"], f"{r['kind']}, {r['operation']}") for r in rows if r["name"].startswith(incomplete)]


OFFERED: Mapping[str, Callable[[typer.Context, str], list[tuple[str, str]]]] = {
    "runs": run_names,
    "trash": trashed_names,
}
