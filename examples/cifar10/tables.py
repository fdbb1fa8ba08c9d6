"""Print the tables of this folder's README from the committed store: python tables.py [STORE]."""

from __future__ import annotations

import sys
from pathlib import Path

from rashomon_cli import Run, Store

HERE = Path(__file__).parent


def number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def with_error(metrics: dict, name: str, index: int | None = None) -> str:
    value, error = metrics[name], metrics.get(f"{name}_stderr")
    if index is not None:
        value, error = value[index], error[index] if error else None
    return number(value, 3) + (f" ± {number(error, 1)}" if error else "")


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def models(runs: dict[str, Run]) -> str:
    rows = []
    for name in ("a", "b", "a-pruned", "b-pruned", "a-thr02", "b-thr02"):
        m = runs[name].metrics
        share = number(100 * m["sparsity"], 3) if "sparsity" in m else "0"
        figures = [m["train_loss"], 100 * m["train_accuracy"], m["test_loss"], 100 * m["test_accuracy"]]
        rows.append([name, share, *(number(value) for value in figures)])
    heads = ["model", "weights gone [%]", "train loss", "train accuracy [%]", "test loss", "test accuracy [%]"]
    return table(heads, rows)


def path(run: Run) -> str:
    m = run.metrics
    curve, line = (run.measurements()[name]["test_error"].values for name in ("curve", "line"))
    rows = [
        ["barrier, train loss [nat]", with_error(m, "curve_barrier_loss"), with_error(m, "line_barrier_loss")],
        ["barrier, train error [points]", with_error(m, "curve_barrier_error"), with_error(m, "line_barrier_error")],
        ["lowest test error [%]", number(curve.min()), number(line.min())],
        ["highest test error [%]", number(curve.max()), number(line.max())],
        ["length", number(m["arc_length"]), number(m["end_distance"])],
    ]
    return table(["", "Bezier, one bend", "straight line"], rows)


def probes(run: Run) -> str:
    m = run.metrics
    names = ["train_loss", "test_error", "ece", "gradient_norm", "gradient_norm_with_penalty", "eigenvalue_max"]
    for what in ("hvp_norm", "curvature"):
        names += [f"{what}_{d}" for d in ("straight", "detour", "tangent", "random")]
    names += ["path_curvature", "path_gradient_bending"]
    rows = [[f"`{name}`", *(with_error(m, name, i) for i in range(len(m["t"])))] for name in names]
    return table(["t", *(number(t) for t in m["t"])], rows)


def pruning(runs: dict[str, Run]) -> str:
    names = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    steps = ["_before", "_regularised", "_unrefreshed", ""]
    rows = []
    for name in ("a-pruned", "b-pruned", "a-thr02", "b-thr02"):
        m = runs[name].metrics
        rows += [[name, step.strip("_") or "after", *(number(m[f"{n}{step}"]) for n in names)] for step in steps]
    return table(["run", "when", *(f"`{name}`" for name in names)], rows)


def similarity(run: Run) -> str:
    group = run.measurements()["mnist"]
    names = [str(name) for name in group["model"].values]
    rows = []
    for i, one in enumerate(names):
        for j in range(i + 1, len(names)):
            kinds = ["cosine", "cosine_centred", "cosine_logits", "cosine_flattened", "cosine_floor", "disagreement"]
            cells = [number(group[kind].values[i, j], 3) for kind in kinds]
            cells[0] += f" ± {number(group['cosine'].stderr[i, j], 1)}"
            rows.append([f"{one}, {names[j]}", *cells])
    heads = ["pair", "cosine", "centred", "logits", "flattened", "shuffled floor", "disagreement"]
    return table(heads, rows)


def blocks(root: Path) -> dict[str, str]:
    """The tables by name."""
    store = Store.open(root)
    runs = {run.name: run for run in store.runs()}
    return {
        "models": models(runs),
        "path": path(runs["bridge"]),
        "probes": probes(runs["probes"]),
        "pruning": pruning(runs),
        "similarity": similarity(runs["similar"]),
        "six": similarity(runs["six"]),
    }


if __name__ == "__main__":
    for title, block in blocks(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "store").items():
        print(f"<!-- {title} -->\n{block}\n")
