import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from rashomon_cli.science.paths import Path, directions, frame, line

A, W, B = torch.tensor([[0.0, 0.0], [1.0, 2.0], [4.0, 0.0]], dtype=torch.float64)
BEZIER = Path("bezier", torch.stack([A, W, B]))
POLYLINE = Path("polyline", torch.stack([A, W, B]))


@st.composite
def paths(draw):
    bends = draw(st.integers(0, 4))
    seed = draw(st.integers(0, 10_000))
    kind = draw(st.sampled_from(["bezier", "polyline"]))
    return Path(kind, torch.from_numpy(np.random.default_rng(seed).normal(size=(bends + 2, 5))))


def test_bezier_at_0_half_1_and_its_tangents():
    assert torch.equal(BEZIER.at(0.0), A)
    assert torch.equal(BEZIER.at(1.0), B)
    torch.testing.assert_close(BEZIER.at(0.5), A / 4 + W / 2 + B / 4)
    torch.testing.assert_close(BEZIER.tangent(0.0), 2 * (W - A))
    torch.testing.assert_close(BEZIER.tangent(0.5), B - A)
    torch.testing.assert_close(BEZIER.tangent(1.0), 2 * (B - W))
    for t in (0.0, 0.3, 1.0):
        torch.testing.assert_close(BEZIER.acceleration(t), 2 * (A - 2 * W + B))


def test_polyline_at_0_half_1_and_its_tangents():
    assert torch.equal(POLYLINE.at(0.0), A)
    assert torch.equal(POLYLINE.at(0.5), W)
    assert torch.equal(POLYLINE.at(1.0), B)
    torch.testing.assert_close(POLYLINE.at(0.25), (A + W) / 2)
    torch.testing.assert_close(POLYLINE.tangent(0.0), 2 * (W - A))
    torch.testing.assert_close(POLYLINE.tangent(0.5), 2 * (B - W))  # one-sided: the segment that follows
    torch.testing.assert_close(POLYLINE.tangent(1.0), 2 * (B - W))
    assert not POLYLINE.acceleration(0.5).any()


def test_bezier_with_two_bends_is_the_cubic():
    points = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t = 0.3
    p0, p1, p2, p3 = points
    expected = (1 - t) ** 3 * p0 + 3 * (1 - t) ** 2 * t * p1 + 3 * (1 - t) * t**2 * p2 + t**3 * p3
    torch.testing.assert_close(Path("bezier", points).at(t), expected)


@given(paths(), st.floats(0, 1))
def test_weights_sum_to_one_and_those_of_derivatives_to_zero(path, t):
    assert path.weights(t).sum() == pytest.approx(1)
    assert path.weights(t, 1).sum() == pytest.approx(0, abs=1e-9)
    assert path.weights(t, 2).sum() == pytest.approx(0, abs=1e-9)


@given(paths(), st.floats(0.001, 0.999))
def test_derivatives_are_those_of_finite_differences(path, t):
    if path.kind == "polyline":
        segment = t * path.degree
        if abs(segment - round(segment)) < 1e-3:
            return
    h = 1e-5
    slope = (path.at(t + h) - path.at(t - h)) / (2 * h)
    torch.testing.assert_close(path.tangent(t), slope, rtol=1e-5, atol=1e-6)
    if path.kind == "bezier":
        bending = (path.tangent(t + h) - path.tangent(t - h)) / (2 * h)
        torch.testing.assert_close(path.acceleration(t), bending, rtol=1e-4, atol=1e-4)


def test_position_outside_the_path_is_refused():
    with pytest.raises(ValueError, match=r"t = 1\.5"):
        BEZIER.at(1.5)
    with pytest.raises(ValueError, match="kind"):
        Path("spline", BEZIER.points)
    with pytest.raises(ValueError, match="control points"):
        Path("bezier", BEZIER.points[:1])


@given(paths(), st.floats(0, 1))
def test_arc_length_is_at_least_the_distance(path, t):
    assert path.arc_length([t])[0] >= path.distance(t) - 1e-9


def test_arc_length_of_a_bezier_is_scipys_integral():
    expected, _ = quad(lambda s: float(BEZIER.tangent(s).norm()), 0, 0.7)
    assert BEZIER.arc_length([0.7])[0] == pytest.approx(expected, rel=1e-10)


def test_arc_length_of_a_polyline_is_the_sum_of_its_segments():
    whole = float((W - A).norm() + (B - W).norm())
    np.testing.assert_allclose(
        POLYLINE.arc_length([0.0, 0.25, 0.5, 1.0]), [0, float(W.norm()) / 2, float(W.norm()), whole]
    )


def test_line_keeps_its_ends_exactly_and_spreads_bends_evenly():
    start, end = torch.rand(3), torch.rand(3)
    path = line(start, end, bends=3, kind="bezier")
    assert torch.equal(path.at(0.0), start)
    assert torch.equal(path.at(1.0), end)
    torch.testing.assert_close(path.at(0.5), (start + end) / 2)
    assert path.arc_length([1.0])[0] == pytest.approx(float((end - start).norm()), rel=1e-6)


def test_frame_with_one_bend():
    plane = frame(BEZIER)
    torch.testing.assert_close(plane.straight, torch.tensor([1.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(plane.detour, torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert plane.share == pytest.approx(1)


def test_frame_with_two_bends_is_the_first_principal_component_with_its_share():
    points = torch.tensor([[0.0, 0, 0], [1.0, 3.0, 0], [2.0, 0, 1.0], [3.0, 0, 0]], dtype=torch.float64)
    plane = frame(Path("bezier", points))
    torch.testing.assert_close(plane.detour, torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64))
    assert plane.share == pytest.approx(9 / 10)


def test_directions_that_do_not_exist_are_absent():
    collinear = directions(line(A, B, bends=2, kind="bezier"), 0.5)
    assert set(collinear) == {"straight", "tangent"}
    back = Path("bezier", torch.stack([A, W, A]))
    assert frame(back) is None
    assert "straight" not in directions(back, 0.5)
    assert "tangent" not in directions(Path("bezier", torch.stack([A, W, A])), 0.5)


@given(paths(), st.floats(0, 1))
def test_directions_are_unit_vectors_and_detour_is_orthogonal_to_straight(path, t):
    found = directions(path, t)
    for vector in found.values():
        assert float(vector.norm()) == pytest.approx(1)
    if "detour" in found:
        assert float(found["detour"] @ found["straight"]) == pytest.approx(0, abs=1e-9)
    assert math.isclose(path.distance(1.0), float((path.points[-1] - path.points[0]).norm()), rel_tol=1e-9)
