import numpy as np
import pytest

from rashomon_cli.core.results import Variable, scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.dimension import dimension

TAUS = 0.1 * 10.0 ** np.linspace(-3, 3, 13)


def group(t=0.0, symmetries=12):
    """A curve, by two routes of which one is apart, and the number at τ = 0.1."""
    value = 1000 / (1 + (0.01 * (1 + t) / TAUS))
    found = {
        "tau": scalar(0.1, "nat"),
        "dimension_symmetries": Variable((), np.asarray(symmetries)),
        "dimension_rank_ratio": scalar(0.55),
        "dimension_curve_taus": series("tolerance", TAUS, "nat", "tolerance τ"),
        "dimension_curve_route": series("tolerance", ["quadrature"] * 3 + ["top"] * 10),
        "dimension_curve_top": series("tolerance", np.where(TAUS > 0.01, value, np.nan)),
        "dimension_curve_quadrature": series("tolerance", value * 1.1),
        "dimension_curve_gram": series("tolerance", value + 50),
        "ggn_dimension_curve": series("tolerance", value + 50),
    }
    for name, less in (("dimension", 0), ("dimension_less_symmetries", symmetries)):
        for end, off in (("", 0), ("_low", -40), ("_high", 30)):
            found[f"{name}{end}"] = scalar(900 - 10 * t + off - less)
            found[f"{name}_curve{end}"] = series("tolerance", value + off - less)
    return found


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def curve(figure, label):
    return next(line for line in figure.axes[0].lines if line.get_label() == label)


def test_a_model_has_its_curve_with_routes_that_say_something_else_and_tau():
    figure = dimension(group())
    assert set(labels(figure)) == {
        "narrowest interval: top, quadrature", "by quadrature", "Gauss-Newton matrix, by the Gram matrix",
        "symmetries aside", "τ = 0.1", "band: interval at 95 %",
    }  # fmt: skip
    drawn = curve(figure, "narrowest interval: top, quadrature")
    np.testing.assert_array_equal(drawn.get_ydata(), group()["dimension_curve"].values)
    assert list(curve(figure, "τ = 0.1").get_xdata()) == [0.1, 0.1]
    (band,) = figure.axes[0].collections
    assert band.get_datalim(figure.axes[0].transData).y1 == pytest.approx(group()["dimension_curve_high"].values.max())


def test_what_the_examples_allow_is_said():
    words = "n(C − 1)/P = 0.55, so 45 % of the Gauss-Newton matrix is flat by construction"
    assert figure_title(group()) == words
    assert figure_title(group() | {"dimension_rank_ratio": scalar(2.5)}) == "n(C − 1)/P = 2.5"
    assert figure_title({name: v for name, v in group().items() if name != "dimension_rank_ratio"}) == ""


def figure_title(found):
    return dimension(found).get_suptitle()


def test_where_no_symmetries_are_told_nothing_is_drawn_aside():
    assert "symmetries aside" not in labels(dimension(group(symmetries=0)))


def test_symmetries_that_were_not_asked_for_or_could_not_be_told_have_no_curve(along):
    left = {name: v for name, v in group(symmetries=0).items() if "less_symmetries" not in name}

    def untold(t=0.0):
        lost = {"dimension_less_symmetries": scalar(np.nan), "dimension_less_symmetries_low": scalar(0.0)}
        return (
            group(t, symmetries=0) | lost | {"dimension_less_symmetries_curve": series("tolerance", 0 * TAUS + np.nan)}
        )

    for found in (left, untold(), along(untold)):
        figure = dimension(found)
        assert "symmetries aside" not in labels(figure)
        assert len(style.encode(figure, "png")) > 5000
    some = dimension(along(lambda t: untold(t) if t > 0.4 else group(t)))
    assert "symmetries aside" in labels(some)
    assert len(style.encode(some, "png")) > 5000


def test_a_path_has_a_curve_a_position_and_the_number_over_t(along):
    ratio = series("t", np.full(5, 2.5))
    told = Variable((), np.asarray("no difference is shown: nowhere can it be more than 10 from that at t = 0"))
    found = along(group) | {"dimension_constant": told, "dimension_rank_ratio": ratio}
    figure = dimension(found)
    assert labels(figure)[:5] == ["t = 0", "t = 0.25", "t = 0.5", "t = 0.75", "t = 1"]
    assert figure.get_suptitle() == f"n(C − 1)/P = 2.5; {told.values}"
    right = figure.axes[1]
    bars = next(c for c in right.containers if c.get_label() == "all directions")
    ends = [tuple(segment[:, 1]) for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx((860 - 10 * t, 930 - 10 * t)) for t in (0, 0.25, 0.5, 0.75, 1)]
    assert right.get_xlabel() == "position on the path, t"


def test_the_legend_lies_inside_the_picture(along):
    for found in (group(), along(group)):
        figure = dimension(found)
        style.encode(figure, "png")
        box = figure.legends[0].get_window_extent()
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_where_the_count_is_not_known_the_band_stands_alone():
    found = group(symmetries=0)
    known = np.where(TAUS > 0.01, found["dimension_curve"].values, np.nan)
    figure = dimension(found | {"dimension_curve": series("tolerance", known)})
    assert len(curve(figure, "narrowest interval: top, quadrature").get_xdata()) == (TAUS > 0.01).sum()
    assert len(style.encode(figure, "png")) > 5000


def test_other_measurements_have_no_such_figure():
    assert dimension({}) is None
    assert dimension({"dimension": scalar(3.0)}) is None
