"""Conditions on the numbers and options of runs: ``test_accuracy>0.9,model=preresnet20(width=8)``."""

from __future__ import annotations

import contextlib
import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from rashomon_cli.core.errors import UsageError, no_such
from rashomon_cli.core.specs import parse_spec, split_list

_CONDITION = re.compile(r"\s*(?P<name>[\w.-]+?)\s*(?P<sign>>=|<=|!=|==|=|>|<)\s*(?P<value>[^\s<>=!].*?)\s*", re.DOTALL)
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
_WORDS = {"true": True, "yes": True, "false": False, "no": False}
_EXAMPLE = "rashomon ls --where 'test_accuracy>0.9,seed=1'"


@dataclass(frozen=True)
class Condition:
    """One comparison.

    Attributes:
        name: of a metric, or of an option.
        sign: ``>``, ``>=``, ``<``, ``<=``, ``=``, ``==`` or ``!=``.
        value: a number, a truth value or a word.
    """

    name: str
    sign: str
    value: float | bool | str

    def holds(self, found: Any) -> bool:
        """Whether it is true of a value; of a list where it is of every member; of what is unknown it never is."""
        if isinstance(found, list):
            return bool(found) and all(self.holds(each) for each in found)
        if found is None:
            return False
        if isinstance(found, str) and isinstance(self.value, str):
            return _SIGNS[self.sign](_canonical(found), _canonical(self.value))
        if _kind(found) is not _kind(self.value):
            return self.sign == "!="
        return _SIGNS[self.sign](found, self.value)


def parse_conditions(text: str) -> list[Condition]:
    """Read conditions, separated by commas; all of them must hold.

    Args:
        text: what the user wrote.

    Returns:
        The conditions.

    Raises:
        UsageError: if one is no comparison, or orders words.
    """
    return [_parse(part) for part in split_list(text)]


def check_names(conditions: Iterable[Condition], known: Iterable[str]) -> None:
    """Refuse conditions on what no run has.

    Raises:
        UsageError: naming the nearest name that runs have.
    """
    names = set(known)
    for condition in conditions:
        if names and condition.name not in names:
            no_such("metric or option", condition.name, sorted(names), "rashomon show NAME --json lists a run's names")


def _canonical(text: str) -> str:
    """One text for all ways to write a specification; any other text as it is."""
    try:
        return str(parse_spec(text))
    except UsageError:
        return text


def _kind(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)


def _parse(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text.strip()!r} is no comparison", _EXAMPLE)
    word = match["value"].strip("\"'")
    value: float | bool | str = _WORDS.get(word.lower(), word)
    with contextlib.suppress(ValueError):
        value = float(word)
    if not isinstance(value, float) and match["sign"] not in ("=", "==", "!="):
        raise UsageError(f"{word!r} in {text.strip()!r} is no number", _EXAMPLE)
    return Condition(match["name"].replace("-", "_"), match["sign"], value)
