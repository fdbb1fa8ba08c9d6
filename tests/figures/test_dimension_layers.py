import numpy as np
import pytest

from rashomon_cli.core.results import Variable, scalar
from rashomon_cli.figures import style
from rashomon_cli.figures.dimension import dimension


def layer(k, t=0.0, symmetries=0, ratio=2.0):
    """Of 100 (k + 1) parameters 90 (k + 1) − t are flat."""
    value = 90.0 * (k + 1) - t
    found = {
        "tau": scalar(0.1, "nat"),
        "dimension_symmetries": Variable((), np.asarray(symmetries)),
        "dimension_rank_ratio": scalar(ratio),
        "dimension_parameters": Variable((), np.asarray(100 * (k + 1))),
    }
    for name, less in (("dimension", 0), ("dimension_less_symmetries", symmetries)):
        for end, off in (("", 0), ("_low", -4), ("_high", 3)):
            found[f"{name}{end}"] = scalar(value + off - less)
    return found


@pytest.fixture
def network(along):
    """Make the group of a network out of a function that gives a layer's at its number."""
    return lambda of=layer, count=3: along(of, "layer", range(count))


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def marks(axes, hollow=False):
    """(value, row) of each mark, by its shape, without entries of the legend and strokes."""
    found = {}
    for line in axes.lines:
        if len(line.get_xdata()) and line.get_marker() in style.MARKERS and (line.get_mfc() == "white") == hollow:
            found.setdefault(line.get_marker(), []).extend(map(tuple, line.get_xydata()))
    return found


def bars(axes):
    return [tuple(segment[:, 0]) for each in axes.collections for segment in each.get_segments()]


def test_a_layer_has_its_number_and_its_share_of_the_parameters(network):
    figure = dimension(network())
    share, number = figure.axes
    assert [text.get_text() for text in share.get_yticklabels()] == [f"layer{k}.weight" for k in range(3)]
    assert marks(share)["o"] == [pytest.approx((0.9, row)) for row in range(3)]
    assert marks(number)["o"] == [(90, 0), (180, 1), (270, 2)]
    assert bars(number) == [(86, 93), (176, 183), (266, 273)]
    assert bars(share)[2] == pytest.approx((266 / 300, 273 / 300))
    assert share.get_xlabel() == "share of the layer's parameters [%]"
    assert figure.get_suptitle() == "directions with |λ| ≤ τ = 0.1 nat"


def test_where_nobody_told_the_number_of_parameters_there_are_numbers_alone(network):
    figure = dimension({name: v for name, v in network().items() if "parameters" not in name})
    (number,) = figure.axes
    assert marks(number)["o"] == [(90, 0), (180, 1), (270, 2)]
    some = network(lambda k: layer(k) if k else {name: v for name, v in layer(k).items() if "parameters" not in name})
    share, number = dimension(some).axes
    assert [row for _, row in marks(share)["o"]] == [1, 2]
    assert [row for _, row in marks(number)["o"]] == [0, 1, 2]


def test_symmetries_are_set_aside_in_layers_that_have_some(network):
    figure = dimension(network(lambda k: layer(k, symmetries=12 * (k == 1))))
    assert marks(figure.axes[1], hollow=True) == {"o": [(168, 1)]}
    assert "hollow: symmetries aside" in labels(figure)
    assert "hollow: symmetries aside" not in labels(dimension(network()))
    left = {name: v for name, v in network().items() if "symmetries" not in name}
    assert marks(dimension(left).axes[1])["o"] == [(90, 0), (180, 1), (270, 2)]


def test_what_is_flat_by_construction_has_a_stroke(network):
    figure = dimension(network(lambda k: layer(k, ratio=2.0 if k else 0.25)))
    stroke = next(line for line in figure.axes[0].lines if "by construction" in line.get_label())
    assert stroke.get_xydata().tolist() == [[0.75, 0.0]]
    assert any("by construction" in text for text in labels(figure))
    assert not any("by construction" in text for text in labels(dimension(network())))


@pytest.mark.parametrize("count", [2, 9])
def test_a_path_has_a_mark_a_position_of_which_both_ends_are_drawn(along, network, count):
    places = np.linspace(0, 1, count)
    found = along(lambda t: network(lambda k: layer(k, t)), at=places)
    found["dimension_differs"] = Variable(("t", "layer"), np.arange(3 * count).reshape(count, 3) == 3 * count - 1)
    figure = dimension(found)
    number = marks(figure.axes[1])
    assert len(number) == min(count, 5)
    assert [value for value, _ in number["o"]] == [90, 180, 270]
    assert [value for value, _ in number[style.MARKERS[len(number) - 1]]] == [89, 179, 269]
    assert [round(row) for _, row in number["s"]] == [0, 1, 2]
    assert {"t = 0", "t = 1"} < set(labels(figure))
    assert figure.get_suptitle().endswith("; not constant along the path in 1 of 3 layers")


def test_numbers_of_several_sizes_among_them_none_have_a_place(network):
    for of in (lambda k: layer(10**k), lambda k: layer(10**k) | ({} if k else {"dimension": scalar(0.0)})):
        figure = dimension(network(of))
        style.encode(figure, "png")
        axes = figure.axes[1]
        assert axes.get_xscale() in {"log", "symlog"}
        x = axes.transData.transform(marks(axes)["o"])[:, 0]
        assert (np.diff(x) > 20).all()  # pixels


def test_a_layer_whose_number_is_not_known_has_its_interval_or_a_word(network):
    lost = {"dimension": scalar(np.nan)}
    none = {f"dimension{end}": scalar(np.nan) for end in ("", "_low", "_high")}
    figure = dimension(network(lambda k: layer(k) | (lost if k == 1 else none if k == 2 else {})))
    number = figure.axes[1]
    assert marks(number)["o"] == [(90, 0)]
    assert bars(number) == [(86, 93), (176, 183)]
    assert [(text.get_text(), text.get_position()[1]) for text in number.texts] == [("not counted", 2)]
    assert len(style.encode(figure, "png")) > 5000
    assert dimension(network(lambda k: layer(k) | none)) is None


def test_sixty_layers_and_the_legend_lie_inside_the_picture(along, network):
    for found in (network(count=60), along(lambda t: network(lambda k: layer(k, t, 5, 0.5), 60))):
        figure = dimension(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
        assert len(figure.axes[0].get_yticklabels()) == 60
