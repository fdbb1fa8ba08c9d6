"""Specifications as users write them: ``preresnet20(width=32)``, ``file.py:factory(k=1)``, ``NAME@0.25``."""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field
from typing import Any

from rashomon_cli.core.errors import UsageError

_CALL = re.compile(r"^(?P<target>[^()]+?)(?:\((?P<arguments>.*)\))?$", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """A builder or data source with its keyword arguments."""

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """The canonical text: arguments sorted by name."""
        if not self.arguments:
            return self.target
        return f"{self.target}({', '.join(f'{k}={v!r}' for k, v in sorted(self.arguments.items()))})"


def parse_spec(text: str) -> Spec:
    """Read ``target`` or ``target(name=literal, …)``; nothing is evaluated but literals.

    Args:
        text: what the user wrote.

    Returns:
        The target and its keyword arguments.

    Raises:
        UsageError: if it is not of this form.
    """
    hint = "write it as preresnet20(width=32) or path/to/file.py:factory(depth=3)"
    match = _CALL.match(text.strip())
    if match is None:
        raise UsageError(f"cannot read {text!r}", hint)
    inside = match["arguments"]
    if inside is None:
        return Spec(match["target"].strip())
    try:
        return Spec(match["target"].strip(), _arguments(inside))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"cannot read the arguments of {text!r}: {error}", hint) from None


def _arguments(inside: str) -> dict[str, Any]:
    """Keyword arguments with literal values.

    Raises:
        ValueError: if there is anything else.
        SyntaxError: if it is no Python.
    """
    call = ast.parse(f"f({inside})", mode="eval").body
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
        raise ValueError("only name=value arguments are possible")
    names = [keyword.arg for keyword in call.keywords]
    if None in names or len(set(names)) < len(names):
        raise ValueError("each argument has a name of its own")
    return {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}


def split_list(text: str) -> list[str]:
    """The parts of a comma-separated list; commas in brackets or quotes belong to a specification's arguments.

    Args:
        text: what the user wrote.

    Returns:
        The parts, without blanks around them; an empty one where there is nothing between two commas.
    """
    parts, depth, quote = [""], 0, ""
    for character in text:
        if character == "," and not depth and not quote:
            parts.append("")
            continue
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and depth:
            quote = character
        depth += (character in "([{") - (character in ")]}") if not quote else 0
        parts[-1] += character
    return [part.strip() for part in parts]


@dataclass(frozen=True)
class Reference:
    """A run named on the command line, with the position on a path where one is given."""

    name: str
    t: float | None = None

    def __str__(self) -> str:
        """``NAME`` or ``NAME@t``."""
        return self.name if self.t is None else f"{self.name}@{self.t:g}"


def parse_reference(text: str) -> Reference:
    """Read ``NAME`` or ``NAME@t`` with t in [0, 1].

    Args:
        text: what the user wrote.

    Returns:
        The name and t (None where there is no ``@``).

    Raises:
        UsageError: if t is no number in [0, 1] or the name is empty.
    """
    name, at, position = text.partition("@")
    if not name:
        raise UsageError("a run name is empty", "rashomon ls")
    if not at:
        return Reference(name)
    try:
        t = float(position)
    except ValueError:
        raise UsageError(
            f"{position!r} in {text!r} is not a number", f"write {name}@0.5", (text, f"{name}@0.5")
        ) from None
    if not (math.isfinite(t) and 0.0 <= t <= 1.0):
        raise UsageError(f"t = {position} in {text!r} is outside [0, 1]", f"write {name}@0.5", (text, f"{name}@0.5"))
    return Reference(name, t)
