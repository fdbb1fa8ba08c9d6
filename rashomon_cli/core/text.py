"""Text of unknown origin, made fit for a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    """A text with escapes in place of what a terminal would obey or not show."""
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
