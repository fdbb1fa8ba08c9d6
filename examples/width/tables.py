"""Print the tables of this folder's README from the committed store: python tables.py [STORE]."""

from __future__ import annotations

import sys
from pathlib import Path

from rashomon_cli import Run, Store

HERE = Path(__file__).parent
WAYS = {"naive": "line", "reset": "reset", "aligned": "aligned", "aligned_reset": "aligned, reset", "curve": "Bezier"}


def number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}g}"


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def sweep(run: Run, kind: str) -> str:
    m = {name: variable.values for name, variable in run.measurements()["sweep"].items()}
    rows = []
    for n, width in enumerate(m["width"]):
        models = [number(m[name][n]) for name in ("parameters_per_constraint", "train_loss")]
        accuracies = [f"{100 * m[f'{split}_accuracy'][n]:.1f}" for split in ("train", "test")]
        barriers = []
        for way in WAYS:
            value, half = m[f"{kind}_{way}"][n], m[f"{kind}_{way}_interval"][n]
            barriers.append(f"{number(value)} ± {number(half, 2)}")
        rows.append([f"{width:g}", f"{m['parameters'][n]:.0f}", *models, *accuracies, *barriers])
    heads = ["width", "P", "P/(N·C)", "train loss", "train acc. [%]", "test acc. [%]"]
    return table([*heads, *WAYS.values()], rows)


def blocks(root: Path) -> dict[str, str]:
    """The tables by name."""
    runs = {run.name: run for run in Store.open(root).runs()}
    return {
        "mlp": sweep(runs["width-mlp"], "barrier_loss"),
        "preresnet8": sweep(runs["width-preresnet8"], "barrier_loss"),
        "midpoints": sweep(runs["width-preresnet8"], "midpoint_test_error"),
    }


if __name__ == "__main__":
    for title, block in blocks(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "store").items():
        print(f"<!-- {title} -->\n{block}\n")
