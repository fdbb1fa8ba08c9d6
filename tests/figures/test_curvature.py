import numpy as np
import pytest

from rashomon_cli.core.results import Variable, scalar, series
from rashomon_cli.figures import style
from rashomon_cli.figures.curvature import curvature

DIRECTIONS = {"straight": 1.5, "detour": 0.7, "tangent": -0.01, "random": 0.05}


def probe(missing=(), points=9):
    t = np.linspace(0, 1, points)
    found = {"t": series("t", t, "1", "position on the path, t")}
    for name, size in DIRECTIONS.items():
        values = np.full(points, np.nan if name in missing else size)
        found[f"hvp_norm_{name}"] = series("t", abs(values) * 6, "nat", "length", np.full(points, 0.003))
        found[f"curvature_{name}"] = series("t", values, "nat", "curvature", np.full(points, 0.02))
    found["eigenvalue_max"] = series("t", np.full(points, 60.0), "nat", "largest eigenvalue")
    return found


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_axes_have_units_and_every_direction_is_named():
    figure = curvature(probe())
    svg = style.encode(figure, "svg").decode()
    for words in ("‖Hv‖ [nat]", "vᵀHv [nat]", "position on the path, t", *DIRECTIONS):
        assert f">{words}<" in svg
    assert labels(figure) == [*DIRECTIONS, "largest eigenvalue of H", "±1 standard error"]


def test_a_direction_that_does_not_exist_is_not_in_the_legend():
    assert "detour" not in labels(curvature(probe(missing=["detour"])))


def test_a_direction_keeps_its_colour_where_another_is_missing():
    def colour(figure):
        container = next(c for c in figure.axes[0].containers if c.get_label() == "random")
        return container.lines[0].get_color()

    assert colour(curvature(probe())) == colour(curvature(probe(missing=["straight", "detour"])))


def test_noise_around_zero_stays_visible_beside_large_curvatures():
    norms, curvatures = curvature(probe()).axes
    assert norms.get_yscale() == "log"
    assert curvatures.get_yscale() == "symlog"


def test_a_single_model_has_a_row_a_direction():
    nothing = scalar(float("nan"), "nat", "", float("nan"))
    model = {"curvature_straight": nothing, "curvature_random": scalar(0.05, "nat", "", 0.01), "t": scalar(0.5)}
    figure = curvature(model | {"eigenvalue_max": scalar(60.0, "nat")})
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert set(rows) == {"random", "largest eigenvalue of H"}
    assert ">vᵀHv [nat]<" in style.encode(figure, "svg").decode()


@pytest.mark.parametrize("only", ["hvp_norm_random", "curvature_random", "eigenvalue_max"])
def test_one_quantity_gives_one_panel(only):
    group = {name: variable for name, variable in probe().items() if name in {"t", only}}
    assert len(curvature(group).axes) == 1


def test_other_variables_are_passed_over():
    assert curvature({"t": probe()["t"], "ece": series("t", np.zeros(9))}) is None
    assert curvature({}) is None
    assert curvature(probe() | {"eigenvalues": Variable(("t", "k"), np.zeros((9, 3)))}) is not None


def test_norms_with_their_noise_are_no_direction_of_their_own():
    group = probe()
    figure = curvature(group | {"hvp_norm_plain_random": group["hvp_norm_random"]})
    assert labels(figure) == labels(curvature(group))
