"""The headline numbers of a run as a person reads them: numbers one a line, lists in tables that fit the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rashomon_cli.cli import console
from rashomon_cli.cli.console import number, plus_minus, show_table, table_width
from rashomon_cli.core.results import LABELS
from rashomon_cli.core.text import printable


def show_metrics(title: str, metrics: Mapping[str, Any]) -> None:
    """Numbers one a line, lists side by side in a table under their labels, lists of lists in a table each."""
    console.Out().print(printable(title), soft_wrap=True)
    found = {k: v for k, v in metrics.items() if not _is_empty(v)}
    nested = {k: v for k, v in found.items() if _depth(v) > 1}
    lists = {k: v for k, v in found.items() if _depth(v) == 1}
    scalars = {k: v for k, v in found.items() if not isinstance(v, list) and not k.endswith("_stderr")}
    if scalars:
        width = max(map(len, scalars))
        for name, value in scalars.items():
            print(printable(f"  {name:<{width}}  {number(value)}{plus_minus(found.get(f'{name}_stderr'))}"))
    used = {label for name in nested for label in _along(name, found)}
    for label, table in _tables(lists):
        if label or not used.issuperset(table):  # positions that stand above what lies along them
            _show_lists(label, lists.get(label, []), table)
    for name in nested:
        if not name.endswith("_stderr"):
            _show_nested(name, found)


def _is_empty(value: Any) -> bool:
    """Whether it says nothing: no words, or only such."""
    return all(map(_is_empty, value)) if isinstance(value, list) else value == ""


def _depth(value: Any) -> int:
    """Levels of lists."""
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _tables(lists: Mapping[str, list[Any]]) -> list[tuple[str, dict[str, list[Any]]]]:
    """Lists that belong into one table, each time with the name of their labels: empty where they have none.

    Labels come before what they label; runs of earlier versions have them behind it. Several may have one length.
    """
    labels = [name for name in lists if name in LABELS]
    found: dict[tuple[str, int], dict[str, list[Any]]] = {}
    before: list[str] = []
    for name, values in lists.items():
        if name in LABELS:
            before.insert(0, name)
            continue
        label = next((each for each in (*before, *labels) if len(lists[each]) == len(values)), "")
        found.setdefault((label, len(values)), {})[name] = values
    used = {label for label, _ in found}
    alone = [("", {name: lists[name]}) for name in labels if name not in used]
    return [(label, table) for (label, _), table in found.items()] + alone


def _show_lists(label: str, labels: Sequence[Any], lists: Mapping[str, list[Any]]) -> None:
    """Lists of one length side by side under their labels, else numbered."""
    estimates = [name for name in lists if not name.endswith("_stderr")]
    rows = [[name, *_cells(lists[name], lists.get(f"{name}_stderr"))] for name in estimates]
    heads = [number(each) for each in labels or range(1, max(map(len, lists.values())) + 1)]
    show_table([label, *heads], rows, numeric=range(1, len(heads) + 1))


def _along(name: str, metrics: Mapping[str, Any]) -> list[str]:
    """Labels of each level of a list of lists: ``t``, ``layer``, or both in this order; empty where it has none.

    What lies along layers stands behind their names, so that other entries of the same number are told apart.
    """
    names, value, found = list(metrics), metrics[name], list[str]()
    depth = _depth(value)
    for label in ("t", "layer"):
        there = label == "t" or label in names[: names.index(name)]
        labels = metrics.get(label)
        if there and len(found) < depth and value and isinstance(labels, list) and len(labels) == len(value):
            found.append(label)
            value = value[0]
    return [*found, *[""] * (depth - len(found))]


def _show_nested(name: str, metrics: Mapping[str, Any]) -> None:
    """A table of what has two levels; of what has three one for each entry of the first."""
    along, values, errors = _along(name, metrics), metrics[name], metrics.get(f"{name}_stderr")
    if len(along) == 2:
        _show_grid(name, along, values, errors, metrics)
        return
    for head, inner, error in zip(_heads(along[0], values, metrics), values, errors or itertools.repeat(None)):
        _show_grid(f"{name}, {along[0] or 'number'} {head}", along[1:], inner, error, metrics)


def _show_grid(
    title: str, along: Sequence[str], values: Sequence[Any], errors: Any, metrics: Mapping[str, Any]
) -> None:
    """Two levels under a title: positions across, as many as fit beside each other, layers and mere numbers down."""
    cells = [_cells(*pair) for pair in zip(values, errors or itertools.repeat(None))]
    outer, inner = _heads(along[0], values, metrics), _heads(along[1], values[0], metrics)
    if along[0] == "t":
        corner, names, heads, columns = " / ".join(filter(None, reversed(along))), inner, outer, cells
    else:
        corner, names, heads, columns = along[0], outer, inner, [list(each) for each in zip(*cells, strict=True)]
    print(printable(title))
    beside = [[head, *column] for head, column in zip(heads, columns, strict=True)]
    for some in _fitting([corner, *names], beside):
        rows = list(zip(*some, strict=True))
        show_table(rows[0], rows[1:], numeric=range(1, len(some)))


def _heads(label: str, values: Sequence[Any], metrics: Mapping[str, Any]) -> list[str]:
    """The labels of a level, or numbers."""
    return [number(each) for each in (metrics[label] if label else range(1, len(values) + 1))]


def _fitting(first: Sequence[str], columns: Sequence[Sequence[str]]) -> Iterator[list[Sequence[str]]]:
    """Columns beside a first one, group by group as they fit on the terminal; all where stdout is none."""
    across, some = console.room(), list[Sequence[str]]()
    for column in columns:
        rows = list(zip(first, *some, column, strict=True))
        if some and across is not None and table_width(rows[0], rows[1:]) > across:
            yield [first, *some]
            some = []
        some.append(column)
    yield [first, *some]


def _cells(values: Sequence[Any], errors: Sequence[Any] | None) -> list[str]:
    """Entries with their standard errors."""
    return [f"{number(value)}{plus_minus(error)}" for value, error in itertools.zip_longest(values, errors or [])]
