"""What the shell offers for the names of runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import typer


def run_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of finished runs that begin so, each with what it is; none where there is no store.

    Args:
        context: the command line so far.
        incomplete: what was typed of the name.

    Returns:
        Pairs of name and words.
    """
    from rashomon_cli.store import Store

    try:
        rows = Store.open(context.params.get("store")).rows()
    except Exception:  # whatever it is, a completion is no place to tell
        return []
    return _offered([row for row in rows if row["status"] == "finished"], incomplete)


def trashed_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of removed runs that begin so, as :func:`run_names`.

    Args:
        context: the command line so far.
        incomplete: what was typed of the name.

    Returns:
        Pairs of name and words.
    """
    from rashomon_cli.store import Store
    from rashomon_cli.store.trash import trashed

    try:
        rows = trashed(Store.open(context.params.get("store")))
    except Exception:  # as above
        return []
    return _offered(rows, incomplete)


def _offered(rows: list[dict[str, str]], incomplete: str) -> list[tuple[str, str]]:
    return [(r["name"], f"{r['kind']}, {r['operation']}") for r in rows if r["name"].startswith(incomplete)]


OFFERED: Mapping[str, Callable[[typer.Context, str], list[tuple[str, str]]]] = {
    "runs": run_names,
    "trash": trashed_names,
}
