import numpy as np
import pytest

from rashomon_cli.core.results import scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.ensemble import ensemble

UNITS = {"error": "percent", "loss": "nat"}


def group(measures=("loss", "error"), members=5, equal=True):
    ts = np.linspace(0, 1, members)
    found = {"member": series("member", ts, "1", "position of the member, t")}
    if equal:
        found["equal_member"] = series("equal_member", [0.25, 0.75], "1", "position")
    for measure in measures:
        unit = UNITS[measure]
        found[f"member_{measure}"] = series("member", 5 + ts, unit, measure, 0 * ts + 0.3)
        names = ["member_{}_mean", "member_{}_best", "ensemble_{}", "independent_{}", *(["equal_{}"] if equal else [])]
        for name in names:
            found[name.format(measure)] = scalar(4.0, unit, measure, 0.3)
        pairs = ["ensemble_minus_member_mean", "ensemble_minus_member_best", "ensemble_minus_independent"]
        for name in [*pairs, *(["equal_minus_independent"] if equal else [])]:
            found[f"{name}_{measure}"] = scalar(-1.0, unit, measure, 0.2)
            for side, value in (("low", -1.4), ("high", -0.6)):
                found[f"{name}_{measure}_{side}"] = scalar(value, unit, measure)
    return found


def rows(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_members_ensembles_and_differences_have_a_row_each():
    figure = ensemble(group())
    levels, _, differences, _ = figure.axes
    assert rows(levels) == [
        "t = 0", "t = 0.25", "t = 0.5", "t = 0.75", "t = 1", "mean of these", "best of these",
        "5 of the path", "2 of the path", "2 independent",
    ]  # fmt: skip
    assert rows(differences)[0] == "5 of the path − mean"
    assert rows(differences)[-1] == "2 of the path − 2 independent"
    svg = style.encode(figure, "svg").decode()
    for words in ("error [%]", "loss [nat]", "difference in error [percentage points]", "difference in loss [nat]"):
        assert f">{words}<" in svg


def test_a_difference_is_drawn_with_its_interval_beside_no_difference():
    axes = ensemble(group()).axes[2]
    lines = [line.get_xdata() for line in axes.lines]
    assert [0, 0] in [list(line) for line in lines]
    assert [-1.4, -0.6] in [list(line) for line in lines]


def test_regression_has_one_column():
    figure = ensemble(group(("loss",)))
    assert len(figure.axes) == 2
    assert figure.axes[0].get_xlabel() == "loss [nat]"


def test_more_independents_than_members_leave_the_equal_ensemble_out():
    assert "independent" in rows(ensemble(group(equal=False)).axes[0])
    assert not [word for axes in ensemble(group(equal=False)).axes for word in rows(axes) if word.startswith("2 ")]


def test_many_members_are_shown_by_mean_and_best_alone():
    assert rows(ensemble(group(members=30)).axes[0])[0] == "mean of these"


def test_the_legend_lies_inside_the_picture():
    figure = ensemble(group())
    style.encode(figure, "png")
    box = figure.legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("other", [{}, {"t": series("t", [0.0, 1.0]), "test_loss": series("t", [1.0, 2.0], "nat")}])
def test_other_measurements_have_no_such_figure(other):
    assert ensemble(other) is None
