"""What a person sees: results on stdout, progress and hints on stderr."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from rich.tree import Tree

from rashomon_cli.cli import streams
from rashomon_cli.core.text import printable

if TYPE_CHECKING:
    from rashomon_cli.core.results import Metric

NARROW = 60
GAP = 2  # blanks between the columns of a table
_MOST = 1e12  # above what anybody counts every float is whole


class Out(Console):
    """Plain text on stdout or stderr; a reader that went away is an error here, not the end of the process.

    Args:
        stderr: write there.
        width: where it is not that of the terminal.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None) -> None:
        super().__init__(stderr=stderr, width=width, markup=False, highlight=False, emoji=False)

    def on_broken_pipe(self) -> None:
        """Rich would exit with 1.

        Raises:
            BrokenPipeError: always.
        """
        self.quiet = True
        raise BrokenPipeError


class RateColumn(ProgressColumn):
    """Steps a second."""

    def render(self, task: Task) -> Text:
        """The rate, once it is known."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f}/s", style="progress.data.speed")


class Bar:
    """Progress of an operation as one bar on stderr; nothing where stderr is no terminal.

    Args:
        quiet: show no bar and no notes.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._console = Out(stderr=True)
        narrow = self._console.width < NARROW
        columns: list[ProgressColumn | str] = [TextColumn("{task.description}"), BarColumn(bar_width=None)]
        columns += [] if narrow else [MofNCompleteColumn(), RateColumn()]
        columns += [TimeRemainingColumn(compact=True)]
        words = [TextColumn(f"{{task.fields[{field}]}}") for field in ("loss", "told")]
        columns += [] if narrow else [TimeElapsedColumn(), *words]
        hidden = quiet or not self._console.is_terminal
        self._progress = Progress(*columns, console=self._console, disable=hidden, transient=True)
        self._task: Any = None
        self._quiet = quiet

    def __enter__(self) -> Bar:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Take the bar away."""
        self._progress.stop()

    def start(self, title: str, steps: int) -> None:
        """A new phase of so many steps."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(escape(title), total=max(steps, 1), loss="", told="")

    def tick(self, loss: float | None = None) -> None:
        """One step is done."""
        if self._task is not None:
            if loss is not None:
                self._progress.update(self._task, loss=f"loss {loss:.4f}")
            self._progress.update(self._task, advance=1)

    def tell(self, text: str) -> None:
        """A word at the end of the bar."""
        if self._task is not None:
            self._progress.update(self._task, told=escape(text))

    def note(self, text: str) -> None:
        """A line on stderr."""
        if not self._quiet:
            self._console.print(f"note: {text}", soft_wrap=True)


def show_json(value: Any) -> None:
    """One JSON document on stdout, never wrapped."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # Stand-ins of a poorer encoding would alter the document; JSON has escapes of its own.
    print(text if streams.knows(text) else json.dumps(value, allow_nan=False))


def show_table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] | range = ()) -> None:
    """A plain table; on a narrow terminal, where it does not fit, one block of lines a row."""
    heads, rows = [printable(head) for head in heads], [[printable(cell) for cell in row] for row in rows]
    widths, across = _widths(heads, rows), room()
    if across is not None and sum(widths) > across:
        for row in rows:
            print(row[0])
            show_pairs({head: cell for head, cell in list(zip(heads, row))[1:] if cell})
        return
    places = [f"{{:{'>' if index in numeric else '<'}{width - GAP}}}" for index, width in enumerate(widths)]
    line = (" " * GAP).join(places)
    Out(width=sum(widths)).print(Text(line.format(*heads).rstrip(), style="bold"), soft_wrap=True)
    print("".join(f"{line.format(*row).rstrip()}\n" for row in rows), end="")


def show_pairs(pairs: Mapping[str, str]) -> None:
    """Words side by side with what they stand for; long values wrap on a terminal."""
    pairs = {printable(head): printable(value) for head, value in pairs.items()}
    width, across = max(map(len, pairs), default=0), room()
    for head, value in pairs.items():
        lines = (
            [value]
            if across is None
            else textwrap.wrap(value, max(across - width - 4, 12), break_on_hyphens=False) or [""]
        )
        for index, line in enumerate(lines):
            print(f"  {'' if index else head:<{width}}  {line}")


def table_width(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Columns of the terminal that a table takes."""
    return sum(_widths(heads, rows))


def _widths(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) + GAP for column in zip(heads, *rows)]


def room() -> int | None:
    """Columns of the terminal; None where stdout is none."""
    out = Out()
    return out.width if out.is_terminal else None


def show_tree(trees: Sequence[Tree]) -> None:
    """Trees, one below the other; lines wrap at the terminal's width and nowhere else."""
    out = Out(width=room() or 10_000)
    for tree in trees:
        out.print(tree)


def number(value: Metric) -> str:
    """A number as a person reads it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            return "–"
        if 10_000 <= abs(value) < _MOST and (2 * value).is_integer():  # a count, or half-way between two
            return f"{value:,.{0 if value.is_integer() else 1}f}"
        return f"{value:.4g}"
    return str(value)


def figure(value: Any) -> str:
    """A number, or the range of a list over points."""
    if not isinstance(value, list):
        return number(value)
    known = [v for v in value if isinstance(v, int | float)]
    return f"{number(min(known))} to {number(max(known))}" if known else "–"


def duration(seconds: float | None) -> str:
    """A time as a person reads it."""
    if seconds is None:
        return "–"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"about {seconds / size:.1f} {unit}"
    return f"about {seconds:.0f} s" if seconds >= 1 else "under 1 s" if seconds else "0 s"


def plus_minus(error: Metric) -> str:
    """A standard error behind its estimate."""
    if not isinstance(error, float | int) or isinstance(error, bool) or not math.isfinite(error):
        return ""
    if not error:
        return ""
    rounded = float(f"{error:.1g}")
    return f" ± {rounded:.0f}" if 1 <= rounded < 1e6 else f" ± {rounded:.1g}"
