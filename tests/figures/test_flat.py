import numpy as np
import pytest

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.flat import flat

KINDS = ("symmetry", "dead", "invisible", "visible")
EACH = np.array([[0.1, 0.1, 0.1], [0.0, 0.2, 0.1], [0.5, 0.7, 0.6], [0.4, 0.0, 0.2]])
CHANGES = {"symmetry": 1e-5, "dead": 1e-4, "invisible": 1e-3, "visible": 0.1, "random": 0.2}


def group(t=0.0, other=True, open_=0.05, moved=0.1):
    """Three directions, of which visible parts give way to invisible ones as t rises."""
    each = EACH + moved * t * np.array([[0], [0], [1], [-1]]) * (EACH[3] > 0.15)
    found = {f"flat_share_{kind}_each": series("direction", row) for kind, row in zip(KINDS, each)}
    found |= {f"flat_share_{kind}": scalar(row.mean()) for kind, row in zip(KINDS, each)}
    for end, side in (("low", -1), ("high", 1)):
        found[f"flat_share_invisible_{end}"] = scalar(each[2].mean() + side * open_)
    for suffix in ("", "_other") if other else ("",):
        for kind, change in CHANGES.items():
            found[f"flat_change{suffix}_{kind}"] = scalar(change * (3 if suffix else 1), "1", "change", change / 4)
    return found | {"flat_tau": scalar(0.1, "nat"), "flat_within": scalar(1.0), "flat_units_known": scalar(1.0)}


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def bars(axes):
    """(bottom, top) of each patch, by colour, from left to right."""
    found = {}
    for patch in axes.patches:
        colour = style.COLOURS.index(name) if (name := _hex(patch)) in style.COLOURS else name
        found.setdefault(colour, []).append((patch.get_y(), patch.get_y() + patch.get_height()))
    return found


def _hex(patch):
    red, green, blue, _ = patch.get_facecolor()
    return "#" + "".join(f"{round(255 * part):02X}" for part in (red, green, blue))


def errorbars(axes):
    return [each for each in axes.containers if hasattr(each, "has_yerr")]


def test_the_shares_of_a_model_are_a_bar_that_is_full_and_has_a_gap_for_what_is_open():
    bar, _ = flat(group()).axes
    found = bars(bar)
    # Means of the rows: 0.1, 0.1, 0.6 ± 0.05, 0.2.
    expected = [(0, 0.1), (0.1, 0.2), (0.2, 0.75), (0.85, 1)]
    assert [found[place][0] for place in range(4)] == [pytest.approx(pair) for pair in expected]
    assert found["#BBBBBB"][0] == pytest.approx((0.75, 0.85))


def test_errors_of_the_sums_are_over_directions():
    bar, _ = flat(group()).axes
    lengths = [np.ptp(each.lines[2][0].get_segments()[0][:, 1]) / 2 for each in errorbars(bar)]
    spread = np.cumsum(EACH, axis=0)[:3].std(1, ddof=1) / np.sqrt(3)
    assert lengths == pytest.approx(spread, abs=1e-12)


def test_nothing_open_leaves_no_gap_and_no_word_of_it():
    figure = flat(group(open_=0.0))
    assert bars(figure.axes[0])["#BBBBBB"][0] == pytest.approx((0.8, 0.8))
    assert not any("left open" in text for text in labels(figure))
    assert any("left open" in text for text in labels(flat(group())))


def test_a_model_has_a_row_a_kind_with_its_share_and_a_yardstick_hollow_on_other_data():
    axes = flat(group()).axes[1]
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert [row.partition("\n")[2] for row in rows] == ["10 %", "10 %", "60 %", "20 %", ""]
    assert rows[-1] == "random direction"
    assert axes.get_xscale() == "log"
    values = {key: line.get_xdata()[0] for each in errorbars(axes) for key, line in [_row(each)]}
    for row, change in enumerate(CHANGES.values()):
        assert values[row, True] == pytest.approx(change)
        assert values[row, False] == pytest.approx(3 * change)


def _row(container):
    line = container.lines[0]
    return (int(line.get_ydata()[0]), line.get_markerfacecolor() != "white"), line


def test_without_other_data_there_is_no_word_of_them():
    assert "on other data" in labels(flat(group()))
    assert "on other data" not in labels(flat(group(other=False)))


@pytest.mark.parametrize("other", [True, False])
def test_a_path_has_a_bar_at_each_t_and_lines_on_one_scale(along, other):
    figure = flat(along(lambda t: group(t, other)))
    bar, *panels = figure.axes
    assert len(panels) == 1 + other
    tops = [top for _, top in bars(bar)[2]]
    # Of two of the three directions 0.1 t moves from the visible part to the invisible one.
    assert tops == pytest.approx([0.75 + 0.1 * t * 2 / 3 for t in (0, 0.25, 0.5, 0.75, 1)])
    assert len({axes.get_ylim() for axes in panels}) == 1
    assert {axes.get_yscale() for axes in panels} == {"log"}
    assert len(errorbars(panels[0])) == len(CHANGES)


def test_a_change_that_is_none_at_all_has_a_place_on_the_axis():
    found = group() | {"flat_change_symmetry": scalar(0.0, "1", "change", 0.0)}
    axes = flat(found).axes[1]
    assert axes.get_xscale() == "symlog"
    assert axes.get_xlim()[0] <= 0
    low = axes.transData.transform([(0, 0), (1e-4, 0), (0.2, 0)])[:, 0]
    assert low[2] - low[1] > low[1] - low[0] > 5  # pixels


def test_a_kind_without_a_part_and_a_position_without_directions_are_left_out(along):
    found = along(group)
    for kind in KINDS:
        found[f"flat_share_{kind}"].values[1] = np.nan
        found[f"flat_share_{kind}_each"].values[1] = np.nan
        found[f"flat_change_{kind}"].values[1] = np.nan
    for end in ("low", "high"):
        found[f"flat_share_invisible_{end}"].values[1] = np.nan
    figure = flat(found)
    assert len(errorbars(figure.axes[1])[0].lines[0].get_xdata()) == 4
    assert len(style.encode(figure, "png")) > 5000
    none = group() | {"flat_change_dead": scalar(np.nan), "flat_change_other_dead": scalar(np.nan)}
    assert len(errorbars(flat(none).axes[1])) == 8


def test_what_is_to_beware_of_is_said(along):
    assert flat(group()).get_suptitle() == "means of 3 directions, all with ‖Hv‖ ≤ τ = 0.1 nat"
    warned = group() | {"flat_within": scalar(2 / 3), "flat_units_known": scalar(0.0)}
    assert "67 % of them" in flat(warned).get_suptitle()
    assert "dead ones count as invisible" in flat(warned).get_suptitle().replace("\n", " ")
    path = along(lambda t: group(t) | {"flat_within": scalar(1 - t / 3)})
    assert "at least 67 % of them" in flat(path).get_suptitle()


def untold(t=0.0):
    """Symmetries that could not be told: what they hold is in what changes no output."""
    found = group(t)
    found["flat_share_invisible_each"].values[:] += found["flat_share_symmetry_each"].values
    for end in ("low", "high"):
        found[f"flat_share_invisible_{end}"].values[...] += 0.1
    found["flat_share_symmetry_each"].values[:] = np.nan
    lost = ("share_symmetry", "change_symmetry", "change_other_symmetry")
    return found | {f"flat_{name}": scalar(np.nan) for name in lost}


def test_symmetries_that_could_not_be_told_have_no_bar_and_no_row(along):
    figure = flat(untold())
    expected = [(0, 0), (0, 0.1), (0.1, 0.75), (0.85, 1)]
    assert [bars(figure.axes[0])[place][0] for place in range(4)] == [pytest.approx(pair) for pair in expected]
    assert figure.axes[1].get_yticklabels()[0].get_text() == "symmetry\nnot told"
    assert len(errorbars(figure.axes[1])) == 2 * (len(CHANGES) - 1)
    for drawn in (figure, flat(along(untold)), flat(along(lambda t: untold(t) if t > 0.4 else group(t)))):
        assert "symmetries could not be told" in drawn.get_suptitle().replace("\n", " ")
        assert len(style.encode(drawn, "png")) > 5000


def test_one_direction_has_no_error_and_a_legend_lies_inside_the_picture(along):
    single = {k: v if "each" not in k else series("direction", v.values[:1]) for k, v in group().items()}
    for found in (group(), along(group), single):
        figure = flat(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_other_measurements_have_no_such_figure():
    assert flat({}) is None
    assert flat(group() | {"flat_share_visible": scalar(np.nan)}) is None


@pytest.fixture
def network(along):
    """A network in whose layers 0.1 (k + t) moves from visible parts to invisible ones."""

    def layer(k, t, other):
        found = group(k + t, other, moved=0.1)
        return found | {"flat_change_random": scalar(0.2 * (k + 1), "1", "change", 0.05)}

    return lambda t=0.0, count=2, other=False: along(lambda k: layer(k % 2, t, other), "layer", range(count))


def lying(axes):
    """(left, right) of each part of the bars, by colour, from the first layer on."""
    found = {}
    for patch in axes.patches:
        found.setdefault(_hex(patch), []).append((patch.get_x(), patch.get_x() + patch.get_width()))
    return found


@pytest.mark.parametrize("other", [True, False])
def test_layers_have_a_bar_each_and_the_changes_beside_it(network, other):
    figure = flat(network(other=other))
    bar, *panels = figure.axes
    assert [text.get_text() for text in bar.get_yticklabels()] == ["layer0.weight", "layer1.weight"]
    # Means of the rows: 0.1, 0.1, 0.6 ± 0.05, 0.2; in the second layer 0.2 / 3 goes from the last to the third.
    third, last = lying(bar)[style.COLOURS[2]], lying(bar)[style.COLOURS[3]]
    assert third == [pytest.approx((0.2, 0.75)), pytest.approx((0.2, 0.75 + 0.2 / 3))]
    assert last == [pytest.approx((0.85, 1)), pytest.approx((0.85 + 0.2 / 3, 1))]
    assert [axes.get_title() for axes in panels] == [
        f"change of predictions\n{words}" for words in ("on these examples", "on other data")[: 1 + other]
    ]
    yardstick = next(line for line in panels[0].lines if line.get_marker() == "P")
    assert list(yardstick.get_xdata()) == [0.2, 0.4]
    assert [round(row) for row in yardstick.get_ydata()] == [0, 1]
    assert {"symmetry", "dead or constant unit", "random direction"} < set(labels(figure))


def test_layers_along_a_path_have_bars_at_both_ends_and_in_the_middle(along, network):
    figure = flat(along(network))
    assert [axes.get_title() for axes in figure.axes] == ["t = 0", "t = 0.5", "t = 1"]
    ends = [lying(axes)[style.COLOURS[2]][0][1] for axes in figure.axes]
    assert ends == pytest.approx([0.75, 0.75 + 0.1 / 3, 0.75 + 0.2 / 3])
    assert "random direction" not in labels(figure)


def test_a_layer_without_flat_directions_says_so(along, network):
    for found in (network(), along(network)):
        lost = [name for name in found if name.startswith(("flat_share", "flat_change", "flat_within"))]
        for name in lost:
            found[name].values[(..., 1, slice(None)) if "each" in name else (..., 1)] = np.nan
        figure = flat(found)
        assert [(text.get_text(), text.get_position()[1]) for text in figure.axes[0].texts] == [
            ("no flat direction", 1)
        ]
        assert len(style.encode(figure, "png")) > 5000
        found["flat_share_visible"].values[:] = np.nan
        assert flat(found) is None


def test_layers_with_fewer_directions_are_told(network):
    found = network()
    for kind in KINDS:
        found[f"flat_share_{kind}_each"].values[1, 2] = np.nan
    figure = flat(found)
    assert figure.get_suptitle() == "means of up to 3 directions, all with ‖Hv‖ ≤ τ = 0.1 nat"
    assert lying(figure.axes[0])[style.COLOURS[0]] == [pytest.approx((0, 0.1))] * 2


def test_sixty_layers_and_the_legend_lie_inside_the_picture(along, network):
    for found in (network(count=60, other=True), along(lambda t: network(t, 60))):
        figure = flat(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert len(figure.axes[0].get_yticklabels()) == 60
