"""Print the tables of this folder's README from the committed store: python tables.py [STORE]."""

from __future__ import annotations

import sys
from pathlib import Path

from rashomon_cli import Run, Store

HERE = Path(__file__).parent
WAYS = {"naive": "no, no", "reset": "no, yes", "aligned": "yes, no", "aligned_reset": "yes, yes"}


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}"


def with_error(metrics: dict, name: str) -> str:
    return f"{number(metrics[name], 3)} ± {number(metrics[f'{name}_stderr'], 1)}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def models(runs: dict[str, Run]) -> str:
    rows = []
    for name in "abc":
        m = runs[name].metrics
        figures = [m["train_loss"], 100 * m["train_accuracy"], m["test_loss"], 100 * m["test_accuracy"]]
        rows.append([name, *(number(value) for value in figures)])
    return table(["model", "train loss", "train accuracy [%]", "test loss", "test accuracy [%]"], rows)


def lines(run: Run) -> str:
    m, groups = run.metrics, run.measurements()
    rows = []
    for way, words in WAYS.items():
        losses = groups[way]["test_loss"].values
        rise = losses[len(losses) // 2] - (losses[0] + losses[-1]) / 2
        accuracy = 100 - m[f"midpoint_test_error_{way}"]
        barriers = [with_error(m, f"barrier_{kind}_{way}") for kind in ("loss", "error")]
        rows.append([words, *barriers, number(accuracy, 3), number(rise, 3)])
    heads = ["permuted, reset", "barrier, train loss [nat]", "barrier, train error [points]"]
    return table([*heads, "test accuracy half-way [%]", "test loss half-way minus the ends' mean"], rows)


def curves(runs: dict[str, Run]) -> str:
    rows = []
    paths = (("bridge", "Bezier, 1 bend"), ("bridge3", "Bezier, 3 bends"), ("poly", "polyline, 1 bend"))
    for name, what in paths:
        m, errors = runs[name].metrics, runs[name].measurements()["curve"]["test_error"].values
        barriers = [with_error(m, f"curve_barrier_{kind}") for kind in ("loss", "error")]
        rows.append([f"`{name}`", what, *barriers, number(errors.min()), number(errors.max()), number(m["arc_length"])])
    heads = ["run", "path", "barrier, train loss [nat]", "barrier, train error [points]"]
    return table([*heads, "lowest test error [%]", "highest test error [%]", "length"], rows)


def blocks(root: Path) -> dict[str, str]:
    """The tables by name."""
    runs = {run.name: run for run in Store.open(root).runs()}
    return {"models": models(runs), "lines": lines(runs["b-on-a-activations"]), "curves": curves(runs)}


if __name__ == "__main__":
    for title, block in blocks(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "store").items():
        print(f"<!-- {title} -->\n{block}\n")
