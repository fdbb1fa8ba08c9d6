import numpy as np
import pytest

from rashomon_cli.core.results import series
from rashomon_cli.figures import style
from rashomon_cli.figures.sweep import sweep

FACTORS = np.array([0.25, 0.5, 1, 2])


def group(sizes=FACTORS, interval=0.2, ways=("naive", "aligned_reset", "curve"), barriers=None):
    barriers = 1 / FACTORS if barriers is None else barriers
    found = {
        "width": series("width", FACTORS, "1", "width multiplier"),
        "parameters_per_constraint": series("width", sizes, "1", "P/(N·C)"),
    }
    names = [f"barrier_loss_{way}" for way in ways] + [
        f"{s}_{q}" for s in ("train", "test") for q in ("loss", "accuracy")
    ]
    for name in names:
        units = "nat" if "loss" in name else "1"
        found[name] = series("width", barriers, units, name, 0.1 + 0 * barriers)
        found[f"{name}_interval"] = series("width", interval + 0 * barriers, units, "half")
    return found


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_barriers_stand_beside_how_well_the_models_were_trained():
    figure = sweep(group())
    assert [axes.get_ylabel() for axes in figure.axes] == ["barrier in training loss [nat]", "loss [nat]", "accuracy"]
    ways = {"line", "line, aligned and reset", "Bezier curve"}
    assert set(labels(figure)) == ways | {"models, train", "models, test", "P = N·C", "95 % t interval over pairs"}
    style.encode(figure, "png")
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_the_bars_are_intervals():
    (bars,) = sweep(group(ways=("naive",))).axes[0].collections
    heights = [float(np.ptp(segment[:, 1])) for segment in bars.get_segments()]
    assert heights == pytest.approx([0.4] * 4)


def test_widths_stand_above_their_sizes():
    svg = style.encode(sweep(group()), "svg").decode()
    for words in ("0.25×", "2×", "width", "P/(N·C)"):
        assert f">{words}<" in svg


def test_a_single_pair_has_no_bars():
    figure = sweep(group(interval=np.nan))
    assert "95 % t interval over pairs" not in labels(figure)


def test_where_all_is_fitted_is_marked_only_near():
    assert "P = N·C" not in labels(sweep(group(sizes=FACTORS / 1000)))


@pytest.mark.parametrize("barriers", [np.array([2, 1, 0.1, 0.0]), np.array([2, np.nan, 0.5, 0.1]), 1 + 0 * FACTORS])
def test_barriers_of_any_size_can_be_drawn(barriers):
    assert len(style.encode(sweep(group(barriers=barriers)), "png")) > 5000


def test_other_measurements_have_no_such_figure():
    assert sweep({}) is None
    assert sweep({"width": series("t", FACTORS)}) is None
    assert sweep(group(ways=())) is None
