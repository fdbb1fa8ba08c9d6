from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from rashomon_cli.science.problem import Point
from rashomon_cli.science.tempered import Posterior


def energy(problem, point, shift, beta, gamma):
    """U from its definition, on all examples at once."""
    (x, y), *more = list(problem.train)
    assert not more
    problem.module.eval()

    def loss(theta):
        return problem.loss(problem.outputs(theta, point.buffers, x), y).mean()

    return beta * (loss(point.theta + shift) - loss(point.theta)) + 0.5 * gamma * shift.square().sum()


def test_energy_and_force_are_those_of_the_definition(case, rebatched):
    problem, point = case
    shift = (0.1 * torch.randn_like(point.theta)).requires_grad_()
    expected = energy(problem, point, shift, 7.0, 3.0)
    (force,) = torch.autograd.grad(expected, shift)
    for size in (1000, 33):
        batches = rebatched(problem, size).train
        posterior = Posterior(problem, point, batches, localisation=3.0, inverse_temperature=7.0)
        place = posterior.at(shift.detach(), None)
        assert place.energy == pytest.approx(expected.item(), rel=1e-12)
        assert torch.allclose(place.force, force, rtol=0, atol=1e-12 * float(force.norm()))
        assert posterior.gradients == problem.train.count


def test_the_temperature_is_that_of_n_examples(mlp_case):
    problem, point = mlp_case
    assert Posterior(problem, point, problem.train).inverse_temperature == 130 / math.log(130)


def test_minibatches_of_as_many_examples_as_there_are_are_all_examples(mlp_case):
    problem, point = mlp_case
    chance = torch.Generator().manual_seed(0)
    assert Posterior(problem, point, problem.train, batch=130).minibatch(chance) is None
    assert Posterior(problem, point, problem.train, batch=129).minibatch(chance).shape == (129,)


def test_the_mean_over_one_example_each_is_that_of_all(mlp_case, rebatched):
    problem, point = mlp_case
    posterior = Posterior(problem, point, rebatched(problem, 50).train, batch=1)
    shift = 0.2 * torch.randn_like(point.theta)
    whole = posterior.at(shift, None)
    each = [posterior.at(shift, torch.tensor([row])) for row in range(130)]
    assert sum(place.excess for place in each) / 130 == pytest.approx(whole.excess, rel=1e-12)
    assert torch.allclose(sum(place.force for place in each) / 130, whole.force, rtol=1e-10, atol=1e-12)


def test_at_the_point_itself_no_minibatch_sees_a_difference(cnn_case):
    problem, point = cnn_case
    posterior = Posterior(problem, point, problem.train, batch=8)
    rows = posterior.minibatch(torch.Generator().manual_seed(1))
    assert posterior.at(posterior.centre(), rows).excess == 0.0


def test_float32_models_keep_small_shifts_apart(mlp_case):
    problem, point = mlp_case
    module = problem.module.float()
    single = replace(problem, module=module, train=replace(problem.train, dtype=torch.float32))
    posterior = Posterior(single, Point(point.theta.float(), {}), single.train)
    place = posterior.at(torch.full_like(posterior.centre(), 1e-12), None)
    assert place.shift.dtype == torch.float64
    assert float(place.shift.sum()) == pytest.approx(1e-12 * point.theta.numel())


def test_what_is_measured_stays_as_it_was(cnn_case):
    problem, point = cnn_case
    module = problem.module.train()
    before = {name: value.clone() for name, value in (module.state_dict() | dict(point.buffers)).items()}
    theta = point.theta.clone()
    posterior = Posterior(problem, point, problem.train, batch=8)
    posterior.at(torch.ones_like(theta), posterior.minibatch(torch.Generator().manual_seed(2)))
    after = module.state_dict() | dict(point.buffers)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(point.theta, theta)
    assert all(parameter.grad is None for parameter in module.parameters())
