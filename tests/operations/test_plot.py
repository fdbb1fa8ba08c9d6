import io
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from rashomon_cli.cli import plot as command_module
from rashomon_cli.cli.options import Common
from rashomon_cli.core.errors import Damaged, Refused, UsageError
from rashomon_cli.core.options import build
from rashomon_cli.core.results import Variable, series
from rashomon_cli.operations.context import Context
from rashomon_cli.operations.plot import PlotConfig, plot
from rashomon_cli.store import Store

T = np.linspace(0, 1, 5)
TRAINING = {
    "epoch": series("epoch", [1, 2, 3], "epoch", "epochs done"),
    "train_loss": series("epoch", [2.0, 1.0, 0.5], "nat", "loss", [0.1, 0.1, 0.1]),
}
PATH = {
    "t": series("t", T, "1", "position on the path, t"),
    "test_loss": series("t", T * (1 - T), "nat", "test loss", 0.01 + 0 * T),
}
PAIRS = {"cosine": Variable(("model", "other"), np.eye(3), "1", "cosine similarity")}
GUARD = {"loss": series("check", [0.1, 0.2], "nat", "guarded loss")}
LAYERS = {"density": series("layer", [0.1, 0.2], "1", "fraction of the weights kept")}
FLAT = ("symmetry", "dead", "invisible", "visible")
PROBED = {
    "eigenvalues_top": Variable(("top",), np.array([3.0, 2.0]), "nat", "largest eigenvalues"),
    "density_nodes": Variable(("probe", "lanczos_step"), np.array([[0.0, 3.0]]), "nat", "nodes"),
    "density_weights": Variable(("probe", "lanczos_step"), np.array([[0.9, 0.1]])),
    "density_dimension": Variable((), np.asarray(10)),
    "density_known": Variable(("known", "known_other"), np.zeros((0, 0)), "nat"),
    "dimension_curve_taus": series("tolerance", [0.1, 1.0], "nat", "tolerance τ"),
    **{f"dimension_curve{end}": series("tolerance", [9.0, 9.0]) for end in ("", "_low", "_high")},
    "reach_kind": series("direction", ["random"]),
    **{f"reach_{side}": series("direction", [2.0]) for side in ("plus", "minus")},
    **{f"reach_censored_{side}": series("direction", [0.0]) for side in ("plus", "minus")},
    "reach_epsilon": Variable((), np.asarray(0.05), "nat"),
    **{f"flat_share_{kind}": Variable((), np.asarray(0.25)) for kind in FLAT},
    **{f"flat_share_{kind}_each": series("direction", [0.25]) for kind in FLAT},
    **{f"flat_share_invisible_{end}": Variable((), np.asarray(0.25)) for end in ("low", "high")},
    **{f"flat_change_{kind}": Variable((), np.asarray(0.1)) for kind in (*FLAT, "random")},
    **{f"flat_{name}": Variable((), np.asarray(1.0), "nat") for name in ("tau", "within", "units_known")},
    "llc": Variable((), np.asarray(1.0)),
    "llc_excess": Variable(("chain", "step"), np.ones((2, 4)), "nat", "loss above"),
    "llc_burn_in": Variable((), np.asarray(1)),
    "llc_inverse_temperature": Variable((), np.asarray(1.0)),
}
PROBE = PATH | {"curvature_random": series("t", T, "nat", "curvature", 0.1 + 0 * T)}


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Context(Store.open(tmp_path / "store", create=True))


def publish(context, name, measurements, kind="model"):
    with context.store.begin("test", {"name": name}, name=name) as job:
        return job.publish(kind, metrics={}, measurements=measurements)


def test_files_lie_in_the_working_folder_and_can_be_read(context, tmp_path):
    run = publish(context, "m", {"training": TRAINING})
    before = sorted(run.folder.iterdir())
    files = plot(context, PlotConfig(run="m"))
    assert [str(path) for path in files] == ["m-training.png", "m-training.svg"]
    image = Image.open(io.BytesIO((tmp_path / files[0]).read_bytes()))
    assert image.size[0] == 1050
    assert len(image.convert("L").getcolors()) > 20
    assert ">loss [nat]<" in (tmp_path / files[1]).read_text()
    assert sorted(run.folder.iterdir()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m-training.png", "m-training.svg", "store"]


@pytest.mark.parametrize(
    ("kind", "groups", "figures"),
    [
        ("model", {"training": TRAINING, "guard": GUARD, "layers": LAYERS}, ["training", "guard", "density"]),
        ("path", {"training": TRAINING, "curve": PATH, "line": PATH}, ["training", "profile"]),
        ("measurement", {"probe": PROBE}, ["profile", "curvature"]),
        ("measurement", {"probe": PROBED}, ["density", "spectrum", "dimension", "reach", "flat", "llc"]),
        ("comparison", {"mnist": PAIRS, "photos(8)": PAIRS}, ["heatmap-mnist", "heatmap-photos-8-"]),
    ],
)
def test_figures_follow_from_the_groups(context, kind, groups, figures):
    publish(context, "r", groups, kind)
    files = plot(context, PlotConfig(run="r"))
    assert [path.name for path in files] == [f"r-{name}.{form}" for name in figures for form in ("png", "svg")]


def test_what_picks_figures(context):
    publish(context, "r", {"training": TRAINING, "curve": PATH}, "path")
    assert len(plot(context, PlotConfig(run="r", what="profile"))) == 2
    assert len(plot(context, PlotConfig(run="r", what=("profile", "training")))) == 4
    with pytest.raises(Refused, match="no heatmap") as refused:
        plot(context, PlotConfig(run="r", what="heatmap"))
    assert refused.value.hint == "rashomon plot r --what profile,training"
    with pytest.raises(UsageError, match="--what = 'pie'"):
        build(PlotConfig, {"run": "r", "what": "pie"})


@pytest.mark.parametrize(
    ("out", "file"), [("figures", "figures/m-training.png"), ("figures/a", "figures/a-training.png")]
)
def test_out_is_a_folder_or_a_beginning(context, tmp_path, out, file):
    publish(context, "m", {"training": TRAINING})
    (tmp_path / "figures").mkdir()
    assert str(plot(context, PlotConfig(run="m", out=out))[0]) == file
    assert str(plot(context, PlotConfig(run="m", out=f"{out}/x.svg" if out == "figures" else "y.png"))[0]) in {
        "figures/x-training.png",
        "y-training.png",
    }


def test_a_missing_folder_and_a_run_folder_are_refused(context):
    run = publish(context, "m", {"training": TRAINING})
    with pytest.raises(UsageError, match="no folder") as missing:
        plot(context, PlotConfig(run="m", out="no/such/x"))
    assert missing.value.hint == "mkdir -p no/such"
    with pytest.raises(UsageError, match="belongs to a run"):
        plot(context, PlotConfig(run="m", out=run.folder))


@pytest.mark.parametrize("groups", [{}, {"spectrum": {"density": series("bin", [0.1])}}])
def test_nothing_to_plot_is_refused_with_a_hint(context, groups):
    publish(context, "m", groups, "measurement")
    with pytest.raises(Refused, match="nothing to plot") as refused:
        plot(context, PlotConfig(run="m"))
    assert refused.value.hint == "rashomon show m"


def test_an_altered_file_is_never_opened(context):
    run = publish(context, "m", {"training": TRAINING})
    (run.folder / "metrics.h5").write_bytes(b"not HDF5")
    with pytest.raises(Damaged):
        plot(context, PlotConfig(run="m"))


def test_the_same_run_gives_the_same_bytes(context):
    publish(context, "r", {"mnist": PAIRS, "probe": PROBE}, "comparison")
    first = [path.read_bytes() for path in plot(context, PlotConfig(run="r"))]
    assert first == [path.read_bytes() for path in plot(context, PlotConfig(run="r"))]


@pytest.mark.parametrize("flags", [{}, {"json_": True}, {"quiet": True}])
def test_the_command_prints_the_paths(context, tmp_path, capsys, flags):
    publish(context, "m", {"training": TRAINING})
    command_module.command(PlotConfig(run="m"), Common(store=tmp_path / "store", **flags))
    printed = capsys.readouterr().out
    expected = ["m-training.png", "m-training.svg"]
    assert (json.loads(printed)["files"] if "json_" in flags else printed.split()) == expected


def test_the_commands_module_imports_neither_torch_nor_matplotlib():
    code = "import sys, rashomon_cli.cli.plot; print({'torch', 'matplotlib'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


def test_profiles_of_several_runs_come_into_one_picture(context):
    for name in ("one", "two"):
        publish(context, name, {"curve": PATH, "line": PATH}, kind="path")
    publish(context, "moved", {"naive": PATH, "aligned": PATH})
    files = plot(context, PlotConfig(run="one", others=("two", "moved")))
    assert [path.name for path in files] == ["one-profile.png", "one-profile.svg"]
    drawn = files[1].read_text()
    for words in ("one", "two", "straight line", "line", "line, aligned"):
        assert drawn.count(f">{words}<") == 1


def legend(context, *names):
    drawn = plot(context, PlotConfig(run=names[0], others=names[1:]))[1].read_text()
    return set(re.findall(r">([^<>*]*line[^<>]*)<", drawn))


def test_lines_of_several_alignments_keep_the_names_of_their_runs(context):
    for name in ("one", "two"):
        publish(context, name, {"naive": PATH, "aligned": PATH})
    assert legend(context, "one", "two") == {f"{n}: {way}" for n in ("one", "two") for way in ("line", "line, aligned")}


def test_straight_lines_that_differ_are_drawn_each(context):
    other = PATH | {"test_loss": series("t", 2 * T * (1 - T), "nat", "test loss", 0.01 + 0 * T)}
    for name, line in (("one", PATH), ("two", other), ("three", PATH)):
        publish(context, name, {"curve": PATH, "line": line}, kind="path")
    assert legend(context, "one", "three") == {"straight line"}
    assert legend(context, "one", "two", "three") == {"straight line", "straight line of two"}


def test_a_run_without_a_profile_is_refused_beside_others(context):
    publish(context, "one", {"curve": PATH}, kind="path")
    publish(context, "trained", {"training": TRAINING})
    with pytest.raises(Refused, match="trained has no profile"):
        plot(context, PlotConfig(run="one", others=("trained",)))
