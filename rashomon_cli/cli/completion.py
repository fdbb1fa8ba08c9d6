"""What the shell offers for the names of runs."""

from __future__ import annotations

import typer

from rashomon_cli.core.errors import RashomonError


def run_names(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Names of finished runs that begin so, each with what it is; none where there is no store.

    Args:
        context: the command line so far.
        incomplete: what was typed of the name.

    Returns:
        Pairs of name and words.
    """
    from rashomon_cli.operations.context import Context

    try:
        rows = Context.open(context.params.get("store")).store.rows()
    except (RashomonError, OSError):
        return []
    found = [(row["name"], f"{row['kind']}, {row['operation']}") for row in rows if row["finished"]]
    return [(name, words) for name, words in found if name.startswith(incomplete)]
