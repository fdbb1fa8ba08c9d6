import math

import numpy as np
import pytest
import torch

from rashomon_cli.science.estimates import MeanVector


def collect(images, sizes, population):
    mean = MeanVector(len(sizes), population)
    for part in torch.split(images, sizes):
        mean.add(part.mean(0), len(part))
    return mean


def sample(seed, count=64, size=200, norm=0.05, noise=0.1):
    """Images whose mean vector has the given norm in the population, each with noise in every entry."""
    rng = np.random.default_rng(seed)
    mu = np.zeros(size)
    mu[0] = norm
    return torch.from_numpy(mu + noise * rng.normal(size=(count, size)))


def test_mean_does_not_depend_on_the_batches():
    images = sample(0, 130)
    expected = images.mean(0)
    for sizes in ([128, 2], [65, 65], [130], [1] * 130):
        torch.testing.assert_close(collect(images, sizes, 1000).mean(), expected, rtol=1e-12, atol=1e-14)


def test_norm_is_free_of_the_noise_that_a_plain_norm_has():
    found, plain, norms = [], [], []
    for seed in range(200):
        images = sample(seed)
        mean = collect(images, [4] * 16, 10**9)
        value, _, with_noise = mean.norm()
        found.append(value**2)
        plain.append(with_noise)
        norms.append(float(images.norm(dim=1).mean()))
    assert math.sqrt(np.mean(found)) == pytest.approx(0.05, abs=0.006)
    assert np.mean(plain) > 0.15  # √(0.05² + 200·0.01/64) = 0.18
    assert np.mean(norms) > 1  # the mean of norms is further away still


def test_debiased_norm_is_the_mean_over_pairs_of_batches():
    images = sample(1)
    batches = [part.mean(0) for part in torch.split(images, [8] * 8)]
    pairs = [float(a @ b) for i, a in enumerate(batches) for j, b in enumerate(batches) if i != j]
    value, _, _ = collect(images, [8] * 8, 10**12).norm()
    assert value == pytest.approx(math.sqrt(max(0.0, np.mean(pairs))), rel=1e-6)


def test_on_the_full_data_nothing_is_noise():
    images = sample(2)
    mean = collect(images, [8] * 8, len(images))
    value, stderr, plain = mean.norm()
    assert value == plain == pytest.approx(float(images.mean(0).norm()))
    assert stderr == 0
    assert mean.projection(torch.ones(200, dtype=torch.float64))[1] == 0


def test_standard_error_of_a_projection_is_right_on_average():
    direction = torch.zeros(200, dtype=torch.float64)
    direction[0] = 1
    values, errors = zip(*(collect(sample(s, 60), [6] * 10, 10**9).projection(direction) for s in range(300)))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(values), rel=0.12)
    assert np.std(values) == pytest.approx(0.1 / math.sqrt(60), rel=0.15)


def test_sampling_half_of_the_population_shrinks_the_error_by_root_half():
    images = sample(3, 60)
    direction = torch.ones(200, dtype=torch.float64)
    whole = collect(images, [6] * 10, 10**9).projection(direction)[1]
    half = collect(images, [6] * 10, 120).projection(direction)[1]
    assert half == pytest.approx(whole * math.sqrt(0.5), rel=1e-6)


def test_one_batch_of_a_sample_has_no_error_to_give():
    mean = collect(sample(4), [64], 1000)
    assert math.isnan(mean.norm()[1])


def test_many_batches_are_kept_in_16_groups():
    images = sample(5, 100)
    mean = collect(images, [1] * 100, 1000)
    assert len(mean._sums) == 16
    assert mean.count == 100
