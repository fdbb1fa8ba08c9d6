import math

import numpy as np
import pytest
import torch

from rashomon_cli.science.simplices import barycentric
from rashomon_cli.science.volumes import mean, share, shares


def quadratic_losses(corners, count, seed):
    """‖θ‖² at random points of one simplex, with no spread between images."""
    chooser = torch.Generator().manual_seed(seed)
    points = torch.stack([barycentric(len(corners), chooser) for _ in range(count)]) @ corners
    return points.square().sum(1).numpy()[:, None].repeat(2, 1)


def test_the_mean_of_a_quadratic_is_within_its_error_and_the_error_is_right():
    # E w wᵀ = (1 + I) / (n (n + 1)), so E‖Σ wᵢvᵢ‖² = (‖Σ v‖² + Σ‖v‖²) / (n (n + 1)).
    corners = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 0, 3.0]], dtype=torch.float64)
    exact = float((corners.sum(0).square().sum() + corners.square().sum()) / 12)
    one = np.ones(1)
    found = [mean(quadratic_losses(corners, 100, seed), np.zeros(100, int), one, 2) for seed in range(60)]
    scores = np.array([(f.value - exact) / f.stderr for f in found])
    assert abs(scores.mean()) < 4 / math.sqrt(60)
    assert 0.75 < scores.std() < 1.25


def test_simplices_count_by_their_volume():
    parts = shares(np.array([-1000.0, -1000.0 + math.log(3)]))
    assert parts == pytest.approx([0.25, 0.75])
    losses = np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0], [2.0, 2.0]])
    numbers = np.array([0, 0, 1, 1])
    assert mean(losses, numbers, parts, 2).value == pytest.approx(1.75)
    assert share(losses.mean(1) <= 1.5, numbers, parts).value == pytest.approx(0.25)


def test_what_is_flat_counts_evenly():
    assert shares(np.array([-math.inf, -math.inf])) == pytest.approx([0.5, 0.5])
    assert shares(np.array([-math.inf, -5.0])) == pytest.approx([0.0, 1.0])


def test_a_loss_that_is_flat_is_all_within_and_its_error_is_not_zero():
    found = share(np.ones(20, bool), np.zeros(20, int), np.ones(1))
    assert found.value == 1.0
    assert 0 < found.stderr < 0.1


def test_the_error_of_a_share_is_near_that_of_a_proportion():
    within = np.arange(200) % 2 == 0
    found = share(within, np.zeros(200, int), np.ones(1))
    assert found.stderr == pytest.approx(math.sqrt(0.25 / 200), rel=0.02)


def test_images_count_in_the_error_of_the_mean():
    # All points alike: what is left is the error over 100 of 200 images, s/√n · √(1 − n/N).
    images = np.random.default_rng(0).normal(size=100)
    losses = np.tile(images, (4, 1))
    found = mean(losses, np.zeros(4, int), np.ones(1), 200)
    assert found.stderr == pytest.approx(images.std(ddof=1) / 10 * math.sqrt(0.5))
    assert mean(losses, np.zeros(4, int), np.ones(1), 100).stderr == pytest.approx(0.0)
