import numpy as np

from rashomon_cli.core.results import series
from rashomon_cli.figures import style
from rashomon_cli.figures.profile import profile


def path(height, points=21, splits=("train", "test")):
    t = np.linspace(0, 1, points)
    bump = 4 * t * (1 - t) * height
    found = {"t": series("t", t, "1", "position on the path, t")}
    for split in splits:
        found[f"{split}_loss"] = series("t", 0.01 + bump, "nat", f"{split} loss", 0.001 + 0 * t)
        found[f"{split}_error"] = series("t", 5 + 30 * bump, "percent", f"{split} error", 0.3 + 0 * t)
    return found


def test_curve_and_line_are_named_on_axes_with_units():
    figure = profile({"curve": path(0.1), "straight line": path(2.0)})
    svg = style.encode(figure, "svg").decode()
    for words in ("curve", "straight line", "train loss [nat]", "test loss [nat]", "test error [%]"):
        assert f">{words}<" in svg
    assert ">position on the path, t<" in svg


def test_a_barrier_makes_the_loss_logarithmic_and_a_flat_curve_starts_at_zero():
    assert profile({"straight line": path(2.0)}).axes[0].get_yscale() == "log"
    flat = profile({"curve": path(0.0)}).axes[0]
    assert (flat.get_yscale(), flat.get_ylim()[0]) == ("linear", 0.0)


def test_only_what_was_measured_has_a_panel():
    assert len(profile({"path": path(0.1, splits=("test",))}).axes) == 2
    assert profile({"curve": {}, "path": {"t": path(1)["t"]}}) is None


def test_paths_may_have_different_points_and_many():
    figure = profile({"curve": path(0.1, 61), "straight line": path(2.0, 5)})
    assert len(style.encode(figure, "png")) > 20_000


def test_segments_with_names_are_told_apart():
    names, begins = ["prune a", "shift"], np.array([0.0, 0.25])
    segments = {
        "segment": series("segment", names),
        "begin": series("segment", begins),
        "end": series("segment", np.array([0.25, 1.0])),
    }
    figure = profile({"curve": path(0.1)}, segments)
    upper, lower = figure.axes[0], figure.axes[-1]
    assert [(text.get_text(), text.xy[0]) for text in upper.texts] == [("prune\na", 0.125), ("shift", 0.625)]
    assert not lower.texts
    for axes in figure.axes:
        assert any(np.array_equal(line.get_xdata(), [0.25, 0.25]) for line in axes.lines)


def test_the_same_arrays_give_the_same_bytes():
    for form in ("png", "svg"):
        first, second = (style.encode(profile({"curve": path(0.1)}), form) for _ in range(2))
        assert first == second
