"""Print the tables of this folder's README from the committed store: python tables.py [STORE]."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

from rashomon_cli import Run, Store

HERE = Path(__file__).parent
PATHS = {
    "bridge": "Bezier, 1 bend",
    "bridge3": "Bezier, 3 bends",
    "poly": "polyline, 1 bend",
    "bridge-aligned": "Bezier, 1 bend, to the aligned b",
}
WAYS = {"naive": "no, no", "reset": "no, yes", "aligned": "yes, no", "aligned_reset": "yes, yes"}
ENSEMBLES = {"ensemble": "bridge", "ensemble-aligned": "bridge-aligned"}
MACHINERY = {"machinery": "bridge", "machinery-aligned": "bridge-aligned"}
CHANGES = {"cosine_change": "1 − cosine", "disagreement": "disagreement", "cka_change": "1 − CKA"}


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}"


def with_error(metrics: dict, name: str, index: int | None = None) -> str:
    value, error = (metrics[key] if index is None else metrics[key][index] for key in (name, f"{name}_stderr"))
    return f"{number(value, 3)} ± {number(error, 1)}"


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


def lines(run: Run, ways: dict[str, str] = WAYS) -> str:
    m, groups = run.metrics, run.measurements()
    rows = []
    for way, words in ways.items():
        losses = groups[way]["test_loss"].values
        rise = losses[len(losses) // 2] - (losses[0] + losses[-1]) / 2
        accuracy = 100 - m[f"midpoint_test_error_{way}"]
        barriers = [with_error(m, f"barrier_{kind}_{way}") for kind in ("loss", "error")]
        rows.append([words, *barriers, number(accuracy, 3), number(rise, 3)])
    heads = ["permuted, reset", "barrier, train loss [nat]", "barrier, train error [points]"]
    return table([*heads, "test accuracy half-way [%]", "test loss half-way minus the ends' mean"], rows)


def curves(runs: dict[str, Run]) -> str:
    rows = []
    for name, what in PATHS.items():
        m, errors = runs[name].metrics, runs[name].measurements()["curve"]["test_error"].values
        barriers = [with_error(m, f"curve_barrier_{kind}") for kind in ("loss", "error")]
        rows.append([f"`{name}`", what, *barriers, number(errors.min()), number(errors.max()), number(m["arc_length"])])
    heads = ["run", "path", "barrier, train loss [nat]", "barrier, train error [points]"]
    return table([*heads, "lowest test error [%]", "highest test error [%]", "length"], rows)


def star(run: Run) -> str:
    m, rows = run.metrics, []
    pairs = list(itertools.combinations(m["anchor"], 2))
    ways = {"": ["hub to " + name for name in m["anchor"]]}
    ways |= {"via_": [" – hub – ".join(pair) for pair in pairs], "line_": [" – ".join(pair) for pair in pairs]}
    for kind, names in ways.items():
        for n, name in enumerate(names):
            rows.append([name, *(with_error(m, f"{kind}barrier_{measure}", n) for measure in ("loss", "error"))])
    return table(["way", "barrier, train loss [nat]", "barrier, train error [points]"], rows)


def ensembles(runs: dict[str, Run]) -> str:
    rows = []
    for name, path in ENSEMBLES.items():
        m = runs[name].metrics
        own = [("their members, mean", "member_{}_mean"), ("their best member", "member_{}_best")]
        sets = [(f"{m['ensemble_members']} models along `{path}`", "ensemble_{}"), *own]
        sets += [("2 of them", "equal_{}"), ("a and b, independent", "independent_{}")]
        for words, key in sets:
            rows.append([words, *(with_error(m, key.format(kind)) for kind in ("error", "loss"))])
    return table(["whose predictions", "test error [%]", "test loss [nat]"], rows)


def differences(runs: dict[str, Run]) -> str:
    rows = []
    for name, path in ENSEMBLES.items():
        m = runs[name].metrics
        for key, words in (
            ("ensemble_minus_member_mean", "5 minus their members' mean"),
            ("ensemble_minus_member_best", "5 minus their best member"),
            ("ensemble_minus_independent", "5 minus 2 independent"),
            ("equal_minus_independent", "2 of them minus 2 independent"),
        ):
            found = []
            for kind in ("error", "loss"):
                value, low, high = (number(m[f"{key}_{kind}{end}"], 3) for end in ("", "_low", "_high"))
                found.append(f"{value} ({low} to {high})")
            rows.append([f"`{path}`", words, *found])
    return table(["path", "difference, paired by image", "error [points]", "loss [nat]"], rows)


def machinery(runs: dict[str, Run]) -> str:
    rows = []
    for name, path in MACHINERY.items():
        m = runs[name].metrics
        for data, words in (("test", "CIFAR-10"), ("ood", "MNIST")):
            for change in ("cosine_change", "disagreement", "cka_change"):
                key = f"machinery_{data}_{change}"
                along, half = m[key], m["t"].index(0.5)
                peak = max(range(len(along)), key=along.__getitem__)
                share = with_error(m, f"{key}_largest_step_share")
                ends = with_error(m, f"{key}_ends")
                cells = [number(along[half], 3), f"{number(along[peak], 3)} at {m['t'][peak]:.2f}", ends, share]
                rows.append([f"`{path}`", words, CHANGES[change], *cells])
    heads = ["path", "images", "change from the start", "half-way", "largest", "between the ends"]
    return table([*heads, "largest step's share of all"], rows)


def widths(run: Run) -> str:
    m, rows = run.metrics, []
    columns = [f"width_{kind}{what}" for kind in ("random", "hessian_free") for what in ("", "_curvature")]
    for n, t in enumerate(m["t"]):
        rows.append([f"{t:.2f}", *(with_error(m, name, n) for name in columns)])
    heads = ["t", "width, random", "their vᵀHv [nat]", "width, Hessian-free"]
    return table([*heads, "their vᵀHv [nat]"], rows)


def blocks(root: Path) -> dict[str, str]:
    """The tables by name."""
    runs = {run.name: run for run in Store.open(root).runs()}
    return {
        "models": models(runs),
        "lines": lines(runs["b-on-a-activations"]),
        "weights": lines(runs["b-on-a-weights"], {way: WAYS[way] for way in ("aligned", "aligned_reset")}),
        "curves": curves(runs),
        "star": star(runs["hub"]),
        "ensembles": ensembles(runs),
        "differences": differences(runs),
        "machinery": machinery(runs),
        "widths": widths(runs["width"]),
    }


if __name__ == "__main__":
    for title, block in blocks(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "store").items():
        print(f"<!-- {title} -->\n{block}\n")
