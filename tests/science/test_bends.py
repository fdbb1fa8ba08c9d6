import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.bends import PUSH, divided, elevated, pushed, sampled
from rashomon_cli.science.paths import Path, line

GRID = [k / 50 for k in range(51)]


@st.composite
def grown(draw, kind):
    """A path of 1 to 5 bends and a number of bends that it can get."""
    bends, seed = draw(st.integers(1, 5)), draw(st.integers(0, 10_000))
    points = torch.from_numpy(np.random.default_rng(seed).normal(size=(bends + 2, 4)))
    return Path(kind, points), draw(st.integers(bends, 12))


@given(grown("bezier"), st.floats(0, 1))
def test_a_bezier_with_more_bends_is_the_same_curve_at_every_t(case, t):
    path, bends = case
    more = elevated(path, bends)
    assert more.points.shape == (bends + 2, 4)
    torch.testing.assert_close(more.at(t), path.at(t), rtol=0, atol=1e-12)
    torch.testing.assert_close(more.tangent(t), path.tangent(t), rtol=0, atol=1e-10)
    assert torch.equal(more.points[[0, -1]], path.points[[0, -1]])


def test_the_elevated_quadratic_is_the_textbook_cubic():
    a, w, b = torch.tensor([[0.0, 0.0], [1.0, 2.0], [4.0, 0.0]], dtype=torch.float64)
    found = elevated(Path("bezier", torch.stack([a, w, b])), 2).points
    torch.testing.assert_close(found, torch.stack([a, a / 3 + 2 * w / 3, 2 * w / 3 + b / 3, b]))


def test_a_path_with_as_many_bends_as_asked_for_is_itself():
    for kind, more in (("bezier", elevated), ("polyline", divided)):
        path = Path(kind, torch.randn(4, 3, generator=torch.Generator().manual_seed(0)))
        assert more(path, 2) is path


@pytest.mark.parametrize(("kind", "more"), [("bezier", elevated), ("polyline", divided)])
def test_bends_are_never_taken_away(kind, more):
    path = Path(kind, torch.zeros(4, 3))
    with pytest.raises(ValueError, match=f"a {kind} with 2 bends is no {kind} that can get 1"):
        more(path, 1)
    other = Path("bezier" if kind == "polyline" else "polyline", torch.zeros(3, 3))
    with pytest.raises(ValueError, match=f"is no {kind}"):
        more(other, 5)


def away(point, path):
    """Distance of a point from a polyline."""
    low, high = path.points[:-1], path.points[1:]
    along = (((point - low) * (high - low)).sum(1) / (high - low).square().sum(1)).clamp(0, 1)
    return float((low + along[:, None] * (high - low) - point).norm(dim=1).min())


@given(grown("polyline"))
def test_a_polyline_with_more_bends_is_the_same_set_of_points(case):
    path, bends = case
    more = divided(path, bends)
    assert more.points.shape == (bends + 2, 4)
    for t in GRID:
        assert away(path.at(t), more) < 1e-12
        assert away(more.at(t), path) < 1e-12
    assert more.arc_length([1.0])[0] == pytest.approx(path.arc_length([1.0])[0])
    assert all(any(torch.equal(old, new) for new in more.points) for old in path.points)


@given(st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.integers(0, 8))
def test_no_other_choice_of_segments_leaves_shorter_pieces(lengths, more):
    corners = torch.tensor([[0.0, *np.cumsum(lengths)]], dtype=torch.float64).T
    pieces = divided(Path("polyline", corners), len(lengths) - 1 + more).points.diff(dim=0)
    choices = itertools.combinations_with_replacement(range(len(lengths)), more)
    best = min(max(length / (1 + choice.count(k)) for k, length in enumerate(lengths)) for choice in choices)
    assert float(pieces.max()) == pytest.approx(best)


def test_a_segment_of_twice_the_length_gets_the_bend():
    path = Path("polyline", torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]], dtype=torch.float64))
    found = divided(path, 2).points
    torch.testing.assert_close(found, torch.tensor([[0.0, 0], [1, 0], [1, 1], [1, 2]], dtype=torch.float64))


@pytest.mark.parametrize("kind", ["bezier", "polyline"])
def test_a_path_of_the_other_kind_is_sampled_at_the_bends(kind):
    other = {"bezier": "polyline", "polyline": "bezier"}[kind]
    path = Path(kind, torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    found = sampled(path, other, 3)
    assert found.kind == other
    torch.testing.assert_close(found.points, torch.stack([path.at(k / 4) for k in range(5)]))
    assert torch.equal(found.points[[0, -1]], path.points[[0, -1]])


@given(st.integers(0, 1000), st.integers(2, 6))
def test_a_push_is_at_right_angles_to_the_chord_and_as_far_as_was_said(seed, size):
    ends = torch.randn(2, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    path = line(*ends, 3, "bezier")
    found, again = (pushed(path, torch.Generator().manual_seed(5)) for _ in range(2))
    moved = (found.points - path.points)[1:-1]
    chord = ends[1] - ends[0]
    torch.testing.assert_close(moved @ chord, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(moved.norm(dim=1), (PUSH * chord.norm()).expand(3))
    assert torch.equal(found.points, again.points)
    assert torch.equal(found.points[[0, -1]], ends)


def test_where_nothing_is_at_right_angles_nothing_is_pushed():
    path = line(torch.tensor([0.0]), torch.tensor([1.0]), 2)
    assert torch.equal(pushed(path, torch.Generator().manual_seed(0)).points, path.points)
