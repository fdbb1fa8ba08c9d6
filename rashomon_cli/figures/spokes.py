"""Losses and errors along the lines from a hub to its anchors, in one picture."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.figure import Figure

from rashomon_cli.figures import style
from rashomon_cli.figures.profile import profile
from rashomon_cli.figures.style import Group

_NAME_LENGTH = 22


def spokes(groups: Mapping[str, Group]) -> Figure | None:
    """The profiles of all spokes, from the hub at t = 0 to the anchor at t = 1.

    Args:
        groups: ``spoke-1`` and so on, and ``anchors`` with the anchors' names.

    Returns:
        The figure; None where there is no spoke.
    """
    anchors = groups.get("anchors", {}).get("anchor")
    if anchors is None:
        return None
    found = {
        f"to {style.shorten(str(name), _NAME_LENGTH)}": groups[f"spoke-{number}"]
        for number, name in enumerate(anchors.values, 1)
        if f"spoke-{number}" in groups
    }
    return profile(found) if found else None
