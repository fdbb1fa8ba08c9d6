import itertools

import numpy as np
import pytest

from rashomon_cli.core.results import series
from rashomon_cli.figures import layers, style

frame = style.styled(layers.frame)


def network(count, name="blocks.{}.conv1"):
    return {"layer": series("layer", [name.format(row) for row in range(count)])}


def drawn(axes):
    return [text.get_text() for text in axes.get_yticklabels()]


@pytest.mark.parametrize("panels", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 20, 21, 60, 80])
def test_every_layer_has_its_name_apart_from_the_next_the_first_at_the_top(count, panels):
    figure, axes = frame(network(count), panels, 1.0)
    figure.canvas.draw()
    assert drawn(axes[0]) == [f"blocks.{row}.conv1" for row in range(count)]
    boxes = [label.get_window_extent() for label in axes[0].get_yticklabels()]
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(boxes))
    assert min(box.x0 for box in boxes) >= 0
    assert len({each.get_ylim() for each in axes}) == 1


def test_the_figure_grows_with_the_layers_until_not_every_one_is_named():
    heights = [frame(network(count), 1, 1.0)[0].get_figheight() for count in (4, 20, 60, 80, 330)]
    assert heights == pytest.approx([1.8, 5.0, 10.0, 13.0, 13.0])
    assert drawn(frame(network(330), 1, 1.0)[1][0]) == [f"blocks.{row}.conv1" for row in range(0, 330, 5)]


def test_long_names_leave_room_for_panels():
    figure, axes = frame(network(60, "features.denseblock3.denselayer{}.conv1.weight"), 3, 1.0)
    figure.canvas.draw()
    assert axes[0].get_window_extent().x0 < 0.3 * figure.bbox.width
    assert drawn(axes[0])[59].endswith("59.conv1.weight")


def test_layers_without_names_are_counted():
    _, (axes,) = frame({"llc": series("layer", [1.0, 2.0])}, 1, 1.0)
    assert drawn(axes) == ["0", "1"]


def test_marks_become_smaller_where_rows_do():
    sizes = [layers.size(network(count)) for count in (4, 60, 330)]
    assert sizes[0] > sizes[1] > sizes[2] > 0.5


def test_marks_beside_one_another_stay_in_their_row():
    assert list(layers.lanes(1)) == [0.0]
    assert np.diff(layers.lanes(5)) == pytest.approx([layers.lanes(2)[1] - layers.lanes(2)[0]] * 4, rel=0.7)
    for count in range(1, 8):
        found = layers.lanes(count)
        assert found.sum() == pytest.approx(0)
        assert (abs(found) < 0.5).all()


def test_a_bar_reaches_from_end_to_end_and_stands_alone_where_there_is_no_value():
    _, (axes,) = frame(network(4), 1, 1.0)
    values, low, high = np.array([[1.0, np.nan, 3.0, np.nan], [0.5, 1.0, 3.0, np.nan], [2.0, 4.0, 3.0, np.nan]])
    layers.marks(axes, values, style.look(0), low=low, high=high, hollow=np.array([False, False, True, True]))
    (bars,) = axes.collections
    assert [tuple(segment[:, 0]) for segment in bars.get_segments()] == [(0.5, 2.0), (1.0, 4.0)]
    assert [segment[0, 1] for segment in bars.get_segments()] == [0, 1]
    found = {
        tuple(line.get_xydata()[0]): line.get_mfc() for line in axes.lines if line.get_label().startswith("_child")
    }
    assert found[1.0, 0.0] == style.COLOURS[0]
    assert found[3.0, 2.0] == "white"


def test_why_a_row_is_empty_stands_in_it():
    _, (axes,) = frame(network(3), 1, 1.0)
    layers.missing(axes, np.array([[1.0, np.nan, np.nan], [np.nan, np.nan, 2.0]]), "no estimate")
    assert [(text.get_text(), text.get_position()[1]) for text in axes.texts] == [("no estimate", 1)]
