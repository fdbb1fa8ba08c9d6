"""``rashomon plot``: pictures of a run's measurements, outside the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import numpy as np
from pydantic import BeforeValidator

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.options import Config, argument, option
from rashomon_cli.core.results import Variable
from rashomon_cli.operations.context import Context
from rashomon_cli.store import Run, durable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS: tuple[Literal["png"], Literal["svg"]] = ("png", "svg")


def _split(value: Any) -> Any:
    return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value


_WAYS = {
    "naive": "line",
    "reset": "line, reset",
    "aligned": "line, aligned",
    "aligned_reset": "line, aligned and reset",
}
Name = Literal[
    "training",
    "guard",
    "density",
    "profile",
    "curvature",
    "heatmap",
    "spokes",
    "simplex",
    "graph",
    "ensemble",
    "width",
    "machinery",
    "sweep",
    "spectrum",
    "dimension",
    "reach",
    "flat",
    "llc",
]
Names = Annotated[tuple[Name, ...], BeforeValidator(_split)]


class PlotConfig(Config):
    """Options of ``plot``."""

    run: str = argument("Run to draw.", metavar="RUN")
    others: tuple[str, ...] = argument("More runs, whose profiles are drawn into the same picture.", default=())
    out: Path | None = option(None, "Folder, or beginning of the file names; default ./NAME.")
    what: Names = option((), f"Figures among {','.join(get_args(Name))}; default all that apply.")


def plot(context: Context, config: PlotConfig) -> list[Path]:
    """Draw what a run measured, each figure as PNG and SVG.

    Args:
        context: the store.
        config: the options.

    Returns:
        The files, PNG before SVG.

    Raises:
        UsageError: if there is no such run, or no such folder to write to.
        Refused: if the run has nothing to draw, or not what was asked for.
        Damaged: if the run's file was altered.
    """
    run, *others = (context.store.find(name) for name in (config.run, *config.others))
    prefix = _prefix(context, config.out, run)
    found = _together([run, *others]) if others else _draw(run.measurements() if _has_measurements(run) else {})
    kinds = {name.partition("-")[0] for name in found}
    if not found:
        raise Refused(f"run {run.name} has nothing to plot", f"rashomon show {run.name}")
    if lacking := [name for name in config.what if name not in kinds]:
        raise Refused(
            f"run {run.name} has no {', '.join(lacking)}", f"rashomon plot {run.name} --what {','.join(sorted(kinds))}"
        )
    return _write(prefix, {k: f for k, f in found.items() if not config.what or k.partition("-")[0] in config.what})


def _has_measurements(run: Run) -> bool:
    return any(artifact.path == "metrics.h5" for artifact in run.record.artifacts)


def _prefix(context: Context, out: Path | None, run: Run) -> Path:
    if out is None:
        prefix = Path(run.name)
    elif out.is_dir():
        prefix = out / run.name
    else:
        prefix = out.with_suffix("") if out.suffix in {".png", ".svg"} else out
    if not prefix.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {prefix.parent}", f"mkdir -p {prefix.parent}")
    if prefix.resolve().is_relative_to(context.store.runs_folder.resolve()):
        raise UsageError(f"{prefix.parent} belongs to a run, which nothing may change", "--out .")
    return prefix


def _together(runs: Sequence[Run]) -> dict[str, Figure]:
    """The profiles of several runs in one figure; a straight line that several have in common is drawn once.

    Raises:
        Refused: if a run has no profile.
    """
    from rashomon_cli.figures import profile

    paths: dict[str, Mapping[str, Variable]] = {}
    found = {run: run.measurements() if _has_measurements(run) else {} for run in runs}
    several = sum(not _WAYS.keys().isdisjoint(groups) for groups in found.values()) > 1
    for run, groups in found.items():
        own = {run.name: groups.get("curve") or groups.get("probe", {})}
        own |= {f"{run.name}: {w}" if several else w: groups.get(way, {}) for way, w in _WAYS.items()}
        own = {words: group for words, group in own.items() if "t" in group}
        if not own:
            raise Refused(f"run {run.name} has no profile", f"rashomon show {run.name}")
        if "line" in groups:
            line = paths.setdefault("straight line", groups["line"])
            if not _are_equal(line, groups["line"]):
                paths[f"straight line of {run.name}"] = groups["line"]
        paths |= own
    figure = profile.profile(paths)
    return {} if figure is None else {"profile": figure}


def _are_equal(one: Mapping[str, Variable], other: Mapping[str, Variable]) -> bool:
    """Whether two profiles hold the same values, but for rounding on different machines."""
    return one.keys() == other.keys() and all(
        variable.values.shape == other[name].values.shape
        and np.allclose(variable.values, other[name].values, rtol=1e-3, equal_nan=True)
        for name, variable in one.items()
    )


def _draw(groups: Mapping[str, Mapping[str, Variable]]) -> dict[str, Figure]:
    """Every figure that the groups allow, by its name; a heat map's name ends in that of its data."""
    from rashomon_cli.figures import (
        curvature,
        density,
        dimension,
        ensemble,
        flat,
        graph,
        heatmap,
        llc,
        machinery,
        profile,
        reach,
        simplex,
        spectrum,
        spokes,
        sweep,
        training,
        width,
    )

    probe = groups.get("probe", {})
    paths = {"curve": groups.get("curve", {}), "straight line": groups.get("line", {}), "path": probe}
    paths |= {words: groups.get(way, {}) for way, words in _WAYS.items()}
    figures = {
        "training": training.curves(groups.get("training", {})),
        "guard": training.guard(groups.get("guard", {})),
        "density": training.density(groups.get("layers", {})) or density.density(probe),
        "profile": profile.profile(paths, groups.get("segments")),
        "curvature": curvature.curvature(probe),
    }
    figures |= {
        "spokes": spokes.spokes(groups),
        "simplex": simplex.simplex(groups.get("complex", {})),
        "graph": graph.graph(groups.get("graph", {})),
    }
    figures |= {
        "ensemble": ensemble.ensemble(probe),
        "width": width.width(probe),
        "machinery": machinery.machinery(probe),
        "sweep": sweep.sweep(groups.get("sweep", {})),
    }
    figures |= {
        "spectrum": spectrum.spectrum(probe),
        "dimension": dimension.dimension(probe),
        "reach": reach.reach(probe),
        "flat": flat.flat(probe),
        "llc": llc.llc(probe),
    }
    figures |= {f"heatmap-{data}": heatmap.heatmap(group, data) for data, group in groups.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _write(prefix: Path, figures: Mapping[str, Figure]) -> list[Path]:
    from rashomon_cli.figures.style import encode

    written = []
    for name, figure in figures.items():
        for form in FORMS:
            safe = "".join(c if c.isalnum() or c in "-_." else "-" for c in name)
            path = prefix.with_name(f"{prefix.name}-{safe}.{form}")
            durable.write(path, encode(figure, form))
            written.append(path)
    return written
