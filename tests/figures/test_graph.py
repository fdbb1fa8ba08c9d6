import numpy as np
import pytest

from rashomon_cli.core.results import Variable, scalar, series
from rashomon_cli.figures.graph import graph
from rashomon_cli.figures.style import encode

NAMES = ["a", "b", "c", "d"]


def group(**changes):
    barrier = np.full((4, 4), np.nan)
    barrier[np.triu_indices(4, 1)] = barrier.T[np.triu_indices(4, 1)] = [0.2, 0.01, 0.4, 0.3, 0.02, 0.5]
    square = ("model", "other")
    found = {
        "model": series("model", NAMES, "1", "model"),
        "train_loss": series("model", [0.1, 0.2, 0.15, 0.12], "nat", "training loss", [0.01] * 4),
        "barrier_loss": Variable(square, barrier, "nat", "barrier of the lowest known path"),
        "best_kind": Variable(square, np.where(np.isnan(barrier), "", "line")),
        "state": Variable(square, np.where(barrier <= 0.05, 3, 1)),
        "epsilon": scalar(0.05, "nat", "ε"),
        "merge_level": series("merge", [0.16, 0.22, 0.4], "nat", "loss at which two pieces become one"),
        "merge_one": series("merge", [0, 1, 0], "1"),
        "merge_other": series("merge", [2, 3, 1], "1"),
    }
    return found | changes


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_models_that_merge_first_stand_together_and_what_is_joined_is_bold():
    figure = graph(group())
    square = figure.axes[0]
    assert [label.get_text() for label in square.get_yticklabels()] == ["a  1", "c  2", "b  3", "d  4"]
    bold = {text.get_text() for text in square.texts if text.get_weight() == "bold"}
    assert bold == {"line\n0.01", "line\n0.02"}
    assert len(square.texts) == 12


def test_the_tree_reaches_each_level():
    tree = graph(group()).axes[1]
    branches = [line for line in tree.lines if line.get_linestyle() == "-"]
    assert [line.get_xdata()[1] for line in branches] == [0.16, 0.22, 0.4]
    assert tuple(branches[0].get_xdata()[i] for i in (0, 3)) == (0.1, 0.15)
    assert [line.get_xdata()[0] for line in tree.lines if line.get_linestyle() == "--"] == [pytest.approx(0.15)]


def test_many_models_are_drawn_without_numbers():
    count = 30
    barrier = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) / 10
    np.fill_diagonal(barrier, np.nan)
    square = ("model", "other")
    figure = graph(
        group()
        | {
            "model": series("model", [f"m-s{k}" for k in range(count)]),
            "train_loss": series("model", np.full(count, 0.1), "nat", "training loss"),
            "barrier_loss": Variable(square, barrier, "nat", "barrier"),
            "best_kind": Variable(square, np.full((count, count), "line")),
            "state": Variable(square, np.ones((count, count), int)),
            "merge_level": series("merge", np.full(count - 1, 0.2), "nat", "level"),
            "merge_one": series("merge", np.arange(count - 1)),
            "merge_other": series("merge", np.arange(1, count)),
        }
    )
    assert texts(figure.axes[0]) == []
    assert len(encode(figure, "png")) > 10_000


def test_aligned_copies_stand_below_the_diagonal():
    plain, square = group(), ("model", "other")
    barrier, kind, state = (plain[name].values.astype(object) for name in ("barrier_loss", "best_kind", "state"))
    for at in ((0, 1), (1, 0)):
        barrier[at], kind[at], state[at] = 0.03, "aligned", 3
    more = {
        "barrier_loss_up_to_symmetry": Variable(square, barrier.astype(float), "nat", "barrier"),
        "best_kind_up_to_symmetry": Variable(square, kind.astype(str)),
        "state_up_to_symmetry": Variable(square, state),
    }
    axes = graph(group() | more).axes[0]
    found = {tuple(map(int, text.get_position())): (text.get_text(), text.get_weight()) for text in axes.texts}
    # Columns and rows are a, c, b, d.
    assert found[2, 0] == ("line\n0.2", "normal")
    assert found[0, 2] == ("aligned\n0.03", "bold")
    assert "below the diagonal: up to symmetry" in axes.get_xlabel()
    equal = {f"{name}_up_to_symmetry": plain[name] for name in ("barrier_loss", "best_kind", "state")}
    assert graph(group() | equal).axes[0].get_xlabel() == "model, by its number"


@pytest.mark.parametrize("epsilon", [0.0, 10.0])
def test_any_epsilon_can_be_drawn(epsilon):
    assert encode(graph(group(epsilon=scalar(epsilon, "nat", "ε"))), "png")


def test_barriers_of_zero_can_be_drawn():
    zero = Variable(("model", "other"), np.where(np.eye(4) > 0, np.nan, 0.0), "nat", "barrier")
    assert encode(graph(group(barrier_loss=zero)), "svg")


def test_another_group_has_no_graph():
    assert graph({}) is None
    assert graph({"barrier_loss": series("t", [1.0], "nat")}) is None
