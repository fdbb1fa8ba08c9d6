"""Print the tables of this folder's README from the committed store: python tables.py [STORE]."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np

from rashomon_cli import Run, Store
from rashomon_cli.science.curvature import verdict

HERE = Path(__file__).parent


def number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}"


def rounded(value: float, error: float) -> str:
    """A number to the place of its error's first digit."""
    place = math.floor(math.log10(error))
    return " ± ".join(f"{round(each, -place):,.{max(0, -place)}f}" for each in (value, error))


def with_error(metrics: dict, name: str, index: int) -> str:
    return rounded(metrics[name][index], metrics[f"{name}_stderr"][index])


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


def verdicts(probes: Run, fitted: Run) -> str:
    """What d²L/dt² of both pairs' curves is."""
    rows = []
    for pair, m in (("`bridge`", probes.metrics), ("`fit-path`", fitted.metrics)):
        names = {"curvature": "path_curvature", "gradient times bending": "path_gradient_bending"}
        for n, t in enumerate(m["t"]):
            terms = {words: (m[name][n], m[f"{name}_stderr"][n]) for words, name in names.items()}
            rows.append([pair, f"{t:.2f}", *(with_error(m, name, n) for name in names.values()), verdict(terms)])
    return table(["curve", "t", "θ'ᵀHθ' [nat]", "∇L·θ'' [nat]", "mostly"], rows)


def pairs(ordinary: Run, fitted: Run) -> str:
    rows: dict[str, list[str]] = {}
    for run, places in ((ordinary, (0, 2, 4)), (fitted, (0, 1, 2))):
        m, arrays = run.metrics, run.measurements()["probe"]
        top, bottom = (arrays[f"eigenvalues_{end}"].values for end in ("top", "bottom"))
        for n in places:
            values = {
                "λ₁ [nat]": number(top[n, 0]),
                "λ₁₀ [nat]": number(top[n, -1]),
                "λ_min [nat]": number(bottom[n, 0], 3),
                "tr H [nat]": with_error(m, "trace", n),
                "overlap of the top ten with those at t = 0": number(m["top_overlap_start"][n], 2),
            }
            for name, value in values.items():
                rows.setdefault(name, []).append(value)
    heads = [f"{name}, t = {t}" for name in ("`bridge`", "`fit-path`") for t in (0, 0.5, 1)]
    return table(["", *heads], [[name, *values] for name, values in rows.items()])


def interval(metrics: dict, name: str, index: int | None = None) -> str:
    value, low, high = (metrics[f"{name}{end}"] for end in ("", "_low", "_high"))
    if index is not None:
        value, low, high = value[index], low[index], high[index]
    words = f"{low:,.0f} to {high:,.0f}"
    if low == high:
        return f"{value:,.0f}"
    return words if value is None or math.isnan(value) else f"{value:,.0f} ({words})"


def dimensions(run: Run, path: Run | None = None) -> str:
    """Counts along a curve; with the path's losses where its positions are among those of the run."""
    m, arrays = run.metrics, run.measurements()["probe"]
    places = range(len(m["t"]))
    (one,) = np.flatnonzero(np.isclose(arrays["dimension_curve_taus"].values[0], 1.0))
    curves = {end: arrays[f"dimension_curve{end}"].values[:, one].tolist() for end in ("", "_low", "_high")}
    above = {f"dimension{end}": each for end, each in curves.items()}
    rows = [
        ["largest \\|λ\\| [nat]", *(number(each) for each in m["dimension_scale"])],
        ["\\|λ\\| ≤ τ = 0.1 nat", *(interval(m, "dimension", n) for n in places)],
        ["of them no symmetries", *(interval(m, "dimension_less_symmetries", n) for n in places)],
        ["difference from t = 0", "", *(interval(m, "dimension_change", n) for n in places if n)],
        ["\\|λ\\| ≤ 1 nat", *(interval(above, "dimension", n) for n in places)],
        ["products", *(str(each) for each in m["matvecs"])],
    ]
    if path is not None:
        curve = path.measurements()["curve"]
        at = [int(np.flatnonzero(np.isclose(curve["t"].values, t))[0]) for t in m["t"]]
        rows.insert(0, ["train loss [nat]", *(number(each, 3) for each in curve["train_loss"].values[at])])
    return table(["t", *(f"{t:g}" for t in m["t"])], rows)


def density(run: Run) -> str:
    m = run.metrics
    share = " to ".join(number(100 * m[f"negative_mass_{end}"], 2) for end in ("low", "high"))
    values = [
        rounded(m["spectrum_min"], m["spectrum_min_residual"]),
        number(m["spectrum_max"]),
        f"{number(100 * m['negative_mass'], 2)} ({share})",
        *(rounded(m[name], m[f"{name}_stderr"]) for name in ("spectrum_mean", "spectrum_mean_square")),
        str(m["matvecs"]),
    ]
    below = f"share below −{number(m['negative_bound'], 2)} nat [%]"
    heads = ["λ_min [nat], ± its residual", "λ_max [nat]", below, "tr H / P [nat]", "‖H‖_F² / P [nat²]", "products"]
    return table(heads, [values])


def counts(runs: dict[str, Run]) -> str:
    """How a count depends on the number of images."""
    rows = []
    for name, images in (("middle-512", 512), ("middle-2048", 2048)):
        m = runs[name].metrics
        ggn = interval(m, "ggn_dimension") if "ggn_dimension" in m else "not counted"
        parts = [f"{images:,}", number(m["dimension_rank_ratio"], 2), number(m["dimension_scale"])]
        rows.append([*parts, interval(m, "dimension"), m["dimension_route"], ggn, str(m["matvecs"])])
    heads = ["images n", "n(C − 1)/P", "largest \\|λ\\| [nat]", "\\|λ\\| ≤ 0.1 nat of the Hessian", "by"]
    return table([*heads, "of the Gauss–Newton matrix", "products"], rows)


def reaches(run: Run) -> str:
    """Medians over the directions of a kind, both ways."""
    m, rows = run.metrics, []
    kinds = np.array(m["reach_kind"])
    either = np.array([m["reach_plus"], m["reach_minus"]])
    cut = np.array([m["reach_censored_plus"], m["reach_censored_minus"]])
    words = {"top": "steepest", "tangent": "tangent", "random": "random", "near_null": "near null"}
    for kind, name in words.items():
        own = kinds == kind
        curvature = np.array(m["reach_curvature"])[own]
        foreseen = [math.sqrt(2 * m["reach_epsilon"] / each) if each > 0 else math.inf for each in curvature]
        orders = sorted({int(each) for each in np.array(m["reach_leading_order"])[own]})
        ends = [number(each, 3) for each in (np.min(either[:, own]), np.median(either[:, own]), np.max(either[:, own]))]
        told = [str(own.sum()), number(float(np.median(curvature)), 3), number(float(np.median(foreseen)), 3)]
        cuts = f"{int(cut[:, own].sum())} of {2 * own.sum()}"
        rows.append([name, *told, ends[1], f"{ends[0]} to {ends[2]}", cuts, ", ".join(map(str, orders))])
    heads = ["directions", "how many", "vᵀHv [nat]", "√(2ε/vᵀHv)", "reach", "from … to", "cut off at 100", "order"]
    return table(heads, rows)


def ledger(run: Run) -> str:
    m, rows = run.metrics, []
    words = {
        "symmetry": "symmetries",
        "dead": "dead and constant units",
        "invisible": "invisible on these images",
        "visible": "changes outputs, not the loss",
        "random": "random directions",
    }

    def told(name: str, factor: float = 1.0, digits: int = 2) -> str:
        value, error = m.get(name), m.get(f"{name}_stderr")
        if value is None or math.isnan(value):
            return "–"
        if abs(value) < 1e-12:
            return "0"
        return f"{number(factor * value, digits)}" + (f" ± {number(factor * error, 1)}" if error else "")

    for kind, name in words.items():
        share = "" if kind == "random" else told(f"flat_share_{kind}", 100)
        rows.append([name, share, told(f"flat_change_{kind}"), told(f"flat_change_other_{kind}")])
    return table(["part", "share [%]", "‖Δp‖₂ per unit step, here", "on MNIST"], rows)


def models(runs: dict[str, Run]) -> str:
    rows = []
    paths = {
        "narrow-path-long": ("narrow-a", "narrow-b"),
        "ridge": ("ridge-a", "ridge-b"),
        "fit-path": ("fit-a", "fit-b"),
    }
    for path, names in paths.items():
        for name in names:
            m = runs[name].metrics
            barrier = number(runs[path].metrics["curve_barrier_loss"], 3)
            figures = [m["train_loss"], 100 * m["train_accuracy"], m["test_loss"], 100 * m["test_accuracy"]]
            rows.append([f"`{name}`", f"{m['parameters']:,}", *(number(value) for value in figures), barrier])
    heads = ["model", "parameters", "train loss", "train accuracy [%]", "test loss", "test accuracy [%]"]
    return table([*heads, "barrier of the pair's curve, train loss [nat]"], rows)


MINUTES = {  # of processor time of one thread, as the operating system told them; not in the runs
    "fit-spectrum": 22,
    "narrow-dimension": 127,
    "ridge-dimension": 78,
    "narrow-density": 14,
    "narrow-flat": 17,
    "middle-512": 22,
    "middle-2048": 37,
}


def costs(runs: dict[str, Run]) -> str:
    """What the second derivatives of each run took; a product is two gradients of the same images."""
    images = {
        "fit-spectrum": "512",
        "narrow-dimension": "5,000",
        "ridge-dimension": "5,000",
        "narrow-density": "5,000",
        "narrow-flat": "500 and 1,000",
        "middle-512": "512",
        "middle-2048": "2,048",
    }
    rows = []
    for name, minutes in MINUTES.items():
        total = int(np.sum(runs[name].metrics["matvecs"]))
        rows.append([f"`{name}`", images[name], f"{total:,}", f"{2 * total:,}", str(minutes)])
    return table(["run", "images", "products, all points", "gradient-equivalents", "minutes of one thread"], rows)


def blocks(root: Path) -> dict[str, str]:
    """The tables by name."""
    runs = {run.name: run for run in Store.open(root).runs()}
    return {
        "bridge": spectrum(runs["bridge-spectrum"]),
        "verdicts": verdicts(runs["probes"], runs["fit-spectrum"]),
        "models": models(runs),
        "pairs": pairs(runs["bridge-spectrum"], runs["fit-spectrum"]),
        "dimensions": dimensions(runs["narrow-dimension"]),
        "ridge": dimensions(runs["ridge-dimension"], runs["ridge"]),
        "density": density(runs["narrow-density"]),
        "reaches": reaches(runs["narrow-flat"]),
        "ledger": ledger(runs["narrow-flat"]),
        "counts": counts(runs),
        "costs": costs(runs),
    }


if __name__ == "__main__":
    for title, block in blocks(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "store").items():
        print(f"<!-- {title} -->\n{block}\n")
