import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon_cli.science.positions import BINS, POWER, Worst

CENTRES = (np.arange(BINS) + 0.5) / BINS


def seen(profile):
    worst = Worst()
    for t in CENTRES:
        worst.saw(t, profile(t))
    return worst


@given(st.floats(0, 1, exclude_max=True))
def test_before_anything_was_seen_positions_are_uniform(u):
    assert Worst().draw(u) == pytest.approx(u, abs=1e-12)


@pytest.mark.parametrize(
    "profile", [lambda t: 3.0, lambda t: 1 + t, lambda t: (t - 0.5) ** 2], ids=["flat", "slope", "valley"]
)
def test_without_a_rise_above_the_line_between_the_ends_positions_are_uniform(profile):
    np.testing.assert_allclose(seen(profile).shares(), 1 / BINS, atol=1e-9)


def test_half_is_uniform_and_half_follows_the_fourth_power_of_the_rise():
    profile = lambda t: 0.3 + 0.5 * t + np.sin(np.pi * t)  # noqa: E731
    shares = seen(profile).shares()
    first, last = profile(CENTRES[0]), profile(CENTRES[-1])
    rise = profile(CENTRES) - np.linspace(first, last, BINS)
    np.testing.assert_allclose(shares, 0.5 / BINS + 0.5 * rise**POWER / (rise**POWER).sum(), atol=1e-12)
    assert shares.min() >= 0.5 / BINS - 1e-12
    assert shares.sum() == pytest.approx(1)


def test_draws_follow_the_shares():
    worst = seen(lambda t: np.exp(-((t - 0.3) ** 2) / 0.01))
    ts = np.array([worst.draw(u) for u in (np.arange(20_000) + 0.5) / 20_000])
    found = np.histogram(ts, BINS, (0, 1))[0] / len(ts)
    np.testing.assert_allclose(found, worst.shares(), atol=1e-4)
    assert found.argmax() == int(0.3 * BINS) or found.argmax() == int(0.3 * BINS) - 1


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 100)), max_size=60), st.floats(0, 1, exclude_max=True))
def test_whatever_was_seen_every_position_can_come(visits, u):
    worst = Worst()
    for t, loss in visits:
        worst.saw(t, loss)
    assert worst.shares().min() >= 0.5 / BINS - 1e-9
    assert worst.shares().sum() == pytest.approx(1)
    assert 0 <= worst.draw(u) <= 1


def test_an_estimate_is_a_running_mean_and_bins_between_visited_ones_are_interpolated():
    worst = Worst()
    worst.saw(0.0, 1.0)
    worst.saw(1.0, 1.0)
    worst.saw(0.5, 3.0)
    worst.saw(0.5, 13.0)
    assert worst.losses[BINS // 2] == pytest.approx(3 + 0.2 * 10)
    assert (np.diff(worst.shares())[: BINS // 2] > -1e-12).all()
    again = Worst(worst.losses)
    assert again.draw(0.4) == worst.draw(0.4)
    again.saw(0.5, 0.0)
    assert worst.losses[BINS // 2] == pytest.approx(5)  # a copy
