import io
import itertools

import numpy as np
import pytest
from PIL import Image

from rashomon_cli.core.results import Variable, series
from rashomon_cli.figures import style
from rashomon_cli.figures.heatmap import heatmap


def comparison(count, families=2):
    rng = np.random.default_rng(0)
    names = np.array([f"preresnet20-cifar10-s{i % families}-l1e-4-thr0.05-e{i}" for i in range(count)])
    matrix = 0.6 + 0.2 * rng.random((count, count))
    np.fill_diagonal(matrix, 1.0)
    return {
        "model": series("model", names),
        "other": series("other", names),
        "family": series("model", np.array([f"s{i * families // count}" for i in range(count)])),
        "cosine": Variable(("model", "other"), matrix, "1", "cosine similarity", np.full((count, count), 0.004)),
        "test_loss": series("model", 0.3 + 0.1 * rng.random(count), "nat", "test loss", np.full(count, 0.01)),
        "test_accuracy": series("model", 0.9 + 0.02 * rng.random(count), "1", "test accuracy", np.full(count, 0.003)),
    }


def text(figure):
    return style.encode(figure, "svg").decode()


def test_the_bar_says_what_is_shown_and_the_panels_beside_have_units():
    svg = text(heatmap(comparison(4), "mnist"))
    for words in (
        "cosine similarity on mnist (standard error ≤ 0.004)",
        "test loss [nat]",
        "test accuracy",
        "s0",
        "s1",
    ):
        assert f">{words}<" in svg


@pytest.mark.parametrize(("count", "written"), [(12, True), (13, False)])
def test_values_stand_in_the_cells_of_small_comparisons(count, written):
    assert bool(heatmap(comparison(count), "mnist").axes[0].texts) == written


@pytest.mark.parametrize("count", [2, 60])
def test_every_model_has_its_row_and_labels_do_not_overlap(count):
    figure = heatmap(comparison(count), "mnist")
    Image.open(io.BytesIO(style.encode(figure, "png"))).verify()
    figure.canvas.draw()
    labels = figure.axes[0].get_yticklabels()
    assert len(labels) == count
    boxes = [label.get_window_extent() for label in labels]
    assert all(upper.y0 - lower.y1 > -2 for upper, lower in itertools.pairwise(boxes))
    assert all(axes.get_ylim() == figure.axes[0].get_ylim() for axes in figure.axes[1:3])


def test_a_missing_pair_is_left_blank():
    group = comparison(3)
    group["cosine"].values[0, 1] = np.nan
    assert len(heatmap(group, "mnist").axes[0].texts) == 8


def test_without_losses_and_families_the_square_stands_alone():
    group = {name: v for name, v in comparison(5).items() if name in {"model", "cosine"}}
    assert "test loss" not in text(heatmap(group, "mnist"))
    assert heatmap({"cosine": group["cosine"]}, "mnist") is not None


def test_no_matrix_gives_no_figure():
    assert heatmap({"test_loss": comparison(3)["test_loss"]}, "mnist") is None


def test_lines_part_families_only_where_the_order_keeps_them_together():
    together = comparison(6)
    mixed = together | {"family": series("model", np.array(["a", "b", "a", "b", "a", "b"]))}
    assert len(heatmap(together, "mnist").axes[0].lines) == 2
    assert not heatmap(mixed, "mnist").axes[0].lines


def test_no_error_bars_are_announced_where_there_are_none():
    group = comparison(4)
    group |= {name: series("model", group[name].values, "1", name) for name in ("test_loss", "test_accuracy")}
    assert "±1 standard error" not in text(heatmap(group, "mnist"))
