"""Families: one request for each combination of the values of options that were given lists, as ``--seed 1-10``."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args

from rashomon_cli.core.errors import UsageError
from rashomon_cli.core.options import Config, build, flag_of
from rashomon_cli.core.specs import split_list

LARGEST = 10_000
_RANGE = re.compile(r"(\d+)-(\d+)")

C = TypeVar("C", bound=Config)


@dataclass(frozen=True)
class Member(Generic[C]):
    """One request of a family.

    Attributes:
        config: its options.
        labels: for each option that differs between the members, a word that tells this one: ``{"seed": "s1"}``.
    """

    config: C
    labels: Mapping[str, str]

    def suffix(self, told: Sequence[str] = ()) -> str:
        """The labels as the end of a name, ``-s1``, without those of options that the name tells already."""
        return "".join(f"-{label}" for field, label in self.labels.items() if field not in told)


@dataclass(frozen=True)
class Family(Generic[C]):
    """Requests that differ in the options that were given as lists; one member where none was."""

    members: tuple[Member[C], ...]


def family(model: type[C], values: Mapping[str, Any]) -> Family[C]:
    """The configs of all combinations of what options list, the first option varying slowest.

    Args:
        model: the config class; its options with ``sweep`` may be lists.
        values: field names and values; a list as a sequence, or as text: ``1-10``, ``1e-5,1e-4``.

    Returns:
        One member for each combination, each validated.

    Raises:
        UsageError: if a list is empty or runs backwards, a value does not fit, or there are too many combinations.
    """
    lists = {
        name: found
        for name, field in model.model_fields.items()
        if name in values
        and isinstance(field.json_schema_extra, dict)
        and "sweep" in field.json_schema_extra
        and (found := _values(name, field.json_schema_extra, field.annotation, values[name])) is not None
    }
    combinations = 1
    for found in lists.values():
        combinations *= len(found)
    if combinations > LARGEST:
        raise UsageError(f"a family of {combinations:,} runs is too large: {LARGEST:,} at most", "ask for it in parts")
    configs: dict[str, C] = {}
    for chosen in itertools.product(*lists.values()):
        config = build(model, dict(values) | dict(zip(lists, chosen)))
        configs.setdefault(config.model_dump_json(), config)  # 0.1 and 1e-1 are one
    several = [name for name in lists if len({getattr(c, name) for c in configs.values()}) > 1]
    for precise in (False, True):
        members = [Member(c, {n: _label(model, c, n, precise) for n in several}) for c in configs.values()]
        if len({member.suffix() for member in members}) == len(members):
            break
    return Family(tuple(members))


def _values(name: str, extra: Mapping[str, Any], annotation: Any, given: Any) -> list[Any] | None:
    """The values of one option, each once; None where it was given none.

    Raises:
        UsageError: if the list is empty, runs backwards, or is too long.
    """
    if given is None:
        return None
    if not isinstance(given, str):
        found = list(dict.fromkeys(given)) if isinstance(given, list | tuple) else [given]
        if not found:
            raise UsageError(f"{flag_of(name, dict(extra))} names nothing")
        return found
    whole = annotation is int or int in get_args(annotation)
    pieces: list[Any] = []
    for piece in split_list(given):
        span = _RANGE.fullmatch(piece) if whole else None
        flag = flag_of(name, dict(extra))
        if not piece:
            raise UsageError(f"{flag} {given!r}: an empty value in the list", f"write {flag} 1,2,3")
        if span is None:
            pieces.append(piece)
            continue
        low, high = int(span[1]), int(span[2])
        if high < low:
            raise UsageError(f"{flag} {given!r}: the range {piece} runs backwards", f"write {flag} {high}-{low}")
        if high - low >= LARGEST:
            raise UsageError(f"{flag} {given!r}: more than {LARGEST:,} values", "ask for them in parts")
        pieces += [str(number) for number in range(low, high + 1)]
    return list(dict.fromkeys(pieces))


def _label(model: type[C], config: C, name: str, precise: bool) -> str:
    """A value as a part of a run's name; with all its digits where fewer do not tell the members apart."""
    extra = model.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    value = getattr(config, name)
    text = f"{value:g}" if isinstance(value, float) and not precise else str(value)
    return re.sub(r"[^A-Za-z0-9._+=-]+", "-", f"{extra['sweep']}{text.replace('@', '-t')}").strip("-")
