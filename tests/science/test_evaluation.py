import math
from itertools import combinations

import pytest
import torch
from torch import nn

from rashomon_cli.science.evaluation import Evaluation, evaluate, predict, standard_error
from rashomon_cli.science.problem import Layout, Problem, cross_entropy, squared_error
from rashomon_cli.sources.batches import Batches


def linear_problem(count=7, loss=cross_entropy, population=None, classifies=True):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 3, generator=generator)
    y = torch.arange(count) % 2 if classifies else torch.randn(count, generator=generator)
    batches = Batches(x, y, 3, population=population or count)
    module = nn.Linear(3, 2 if classifies else 1)
    problem = Problem(module, Layout.of(module), loss, batches, batches, classifies)
    return problem, torch.randn(problem.layout.total, generator=generator), x, y


def test_a_classifier_is_evaluated_as_by_hand():
    problem, theta, x, y = linear_problem()
    outputs = x @ theta[:6].view(2, 3).T + theta[6:]
    found = evaluate(problem, theta, {}, problem.test)
    assert found.loss == pytest.approx(float(-outputs.log_softmax(1)[range(7), y].mean()))
    assert found.cross_entropy == found.loss
    assert found.accuracy == pytest.approx(float((outputs.argmax(1) == y).float().mean()))
    assert found.error == pytest.approx(100 * (1 - found.accuracy))
    assert (found.loss_stderr, found.error_stderr, found.cross_entropy_stderr) == (0, 0, 0)
    torch.testing.assert_close(predict(problem, theta, {}, problem.test), outputs)


def test_cross_entropy_stands_beside_another_loss():
    problem, theta, x, y = linear_problem(loss=squared_error)
    outputs = x @ theta[:6].view(2, 3).T + theta[6:]
    found = evaluate(problem, theta, {}, problem.test)
    assert found.loss == pytest.approx(float((outputs - torch.eye(2)[y]).square().mean()))
    assert found.cross_entropy == pytest.approx(float(cross_entropy(outputs, y).mean()))


def test_a_regression_has_a_loss_and_no_accuracy():
    problem, theta, _, _ = linear_problem(loss=squared_error, classifies=False)
    found = evaluate(problem, theta, {}, problem.test)
    assert math.isfinite(found.loss)
    assert all(
        math.isnan(v) for v in (found.accuracy, found.error, found.error_stderr, found.cross_entropy, *found.ece())
    )


def test_the_standard_error_is_that_of_a_sample_without_replacement():
    values = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    s = float(values.std())
    assert standard_error(values, 4) == 0
    assert standard_error(values, 16) == pytest.approx(s / 2 * math.sqrt(1 - 4 / 16))
    assert standard_error(values, 10**9) == pytest.approx(s / 2)
    assert math.isnan(standard_error(values[:1], 5))
    assert standard_error(values[:1], 1) == 0


def test_its_square_averages_to_the_variance_over_all_samples():
    population = torch.tensor([1.0, 2.0, 4.0, 9.0, 9.5], dtype=torch.float64)
    samples = [population[list(chosen)] for chosen in combinations(range(5), 3)]
    spread = torch.stack([sample.mean() for sample in samples]).var(unbiased=False)
    mean_square = sum(standard_error(sample, 5) ** 2 for sample in samples) / len(samples)
    assert mean_square == pytest.approx(float(spread))


def test_the_calibration_error_of_a_known_case():
    # 10 examples at confidence 0.95 of which 7 are met, 10 at 0.55 of which 5 are: half of 0.25 and of 0.05.
    confidences = torch.tensor([0.95] * 10 + [0.55] * 10, dtype=torch.float64)
    wrong = torch.tensor(([0.0] * 7 + [1.0] * 3) + [0.0] * 5 + [1.0] * 5, dtype=torch.float64)
    found = Evaluation(wrong, wrong, wrong, confidences, 20)
    assert found.ece()[0] == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)
    assert found.ece()[1] == 0
    sampled = Evaluation(wrong, wrong, wrong, confidences, 10**9)
    assert 0.02 < sampled.ece()[1] < 0.3
    certain = Evaluation(wrong, wrong, torch.zeros(20), torch.ones(20, dtype=torch.float64), 20)
    assert certain.ece()[0] == 0
