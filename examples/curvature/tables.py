"""Print the tables of this folder's README from the committed store: python tables.py [STORE]."""

from __future__ import annotations

import math
import sys
from pathlib import Path

from rashomon_cli import Run, Store

HERE = Path(__file__).parent


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}"


def with_error(metrics: dict, name: str, index: int) -> str:
    """A number to the place of its error's first digit."""
    value, error = metrics[name][index], metrics[f"{name}_stderr"][index]
    place = math.floor(math.log10(error))
    return " ± ".join(f"{round(each, -place):,.{max(0, -place)}f}" for each in (value, error))


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spectrum(run: Run) -> str:
    m, arrays = run.metrics, run.measurements()["probe"]
    top, bottom, left = (arrays[name].values for name in ("eigenvalues_top", "eigenvalues_bottom", "residuals_bottom"))
    rows = [
        ["λ₁ [nat]", *(number(each) for each in top[:, 0])],
        ["λ₁₀ [nat]", *(number(each) for each in top[:, -1])],
        [
            "λ_min [nat], ± its residual",
            *(f"{number(a, 3)} ± {number(b, 1)}" for a, b in zip(bottom[:, 0], left[:, 0])),
        ],
        ["tr H [nat]", *(with_error(m, "trace", n) for n in range(len(m["t"])))],
        ["‖H‖_F² [nat²]", *(with_error(m, "frobenius_squared", n) for n in range(len(m["t"])))],
        ["overlap of the top ten with those at t = 0", *(number(each, 2) for each in m["top_overlap_start"])],
        ["share of the tangent in the top ten", *(number(each, 1) for each in m["top_share_tangent"])],
        ["products", *(str(each) for each in m["matvecs"])],
    ]
    return table(["t", *(f"{t:.2f}" for t in m["t"])], rows)


def models(runs: dict[str, Run]) -> str:
    rows = []
    for path, names in (("narrow-path-long", ("narrow-a", "narrow-b")), ("fit-path", ("fit-a", "fit-b"))):
        for name in names:
            m = runs[name].metrics
            barrier = number(runs[path].metrics["curve_barrier_loss"], 3)
            figures = [m["train_loss"], 100 * m["train_accuracy"], m["test_loss"], 100 * m["test_accuracy"]]
            rows.append([f"`{name}`", f"{m['parameters']:,}", *(number(value) for value in figures), barrier])
    heads = ["model", "parameters", "train loss", "train accuracy [%]", "test loss", "test accuracy [%]"]
    return table([*heads, "barrier of the pair's curve, train loss [nat]"], rows)


def blocks(root: Path) -> dict[str, str]:
    """The tables by name."""
    runs = {run.name: run for run in Store.open(root).runs()}
    return {
        "bridge": spectrum(runs["bridge-spectrum"]),
        "models": models(runs),
    }


if __name__ == "__main__":
    for title, block in blocks(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "store").items():
        print(f"<!-- {title} -->\n{block}\n")
