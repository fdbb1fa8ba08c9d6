"""REPAIR gives every unit the mean and deviation that lie between those of the ends (Jordan et al. 2022)."""

import torch
from torch import nn

from rashomon_cli.science import repair


def problem_of(make, seed, width=6):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
    torch.manual_seed(9)
    return make(module, torch.randn(200, 4), torch.randint(0, 3, (200,)))


def theta_of(problem):
    return problem.layout.flatten(dict(problem.module.named_parameters()))


LAYERS = ["0", "2"]


def test_statistics_after_a_reset_are_those_asked_for(make):
    one, other = (problem_of(make, seed) for seed in (0, 1))
    ends = [repair.measure(p, theta_of(p), {}, p.train, LAYERS) for p in (one, other)]
    middle = 0.5 * (theta_of(one) + theta_of(other))
    aim = {name: ends[0][name].between(ends[1][name], 0.5) for name in LAYERS}
    found = repair.measure(one, middle, {}, one.train, LAYERS, aim)
    with repair.reset(one, found, aim):
        now = repair.measure(one, middle, {}, one.train, LAYERS)
    assert max(float((found[n].std - aim[n].std).abs().max()) for n in LAYERS) > 1e-2
    for name in LAYERS:
        torch.testing.assert_close(now[name].mean, aim[name].mean, rtol=0, atol=1e-9)
        torch.testing.assert_close(now[name].std, aim[name].std, rtol=1e-9, atol=1e-9)


def test_a_reset_to_its_own_statistics_changes_nothing(make):
    problem = problem_of(make, 0)
    theta, (x, _) = theta_of(problem), next(iter(problem.train))
    own = repair.measure(problem, theta, {}, problem.train, LAYERS)
    before = problem.outputs(theta, {}, x)
    with repair.reset(problem, own, own):
        torch.testing.assert_close(problem.outputs(theta, {}, x), before)
    torch.testing.assert_close(problem.outputs(theta, {}, x), before, rtol=0, atol=0)


def test_a_unit_that_does_not_vary_gets_the_mean_alone(make):
    problem = problem_of(make, 0)
    theta = theta_of(problem)
    parts = problem.layout.split(theta.clone())
    parts["0.weight"][1] = 0.0
    silent = problem.layout.flatten(parts)
    own = repair.measure(problem, theta, {}, problem.train, ["0"])
    found = repair.measure(problem, silent, {}, problem.train, ["0"], own)
    with repair.reset(problem, found, own):
        now = repair.measure(problem, silent, {}, problem.train, ["0"])
    assert float(now["0"].std[1]) == 0.0
    torch.testing.assert_close(now["0"].mean, own["0"].mean)


def test_only_linear_maps_whose_outputs_are_units_are_reset(make):
    problem = problem_of(make, 0)
    assert repair.layers(problem.module, ["0.weight", "0.bias", "2.weight"]) == ["0", "2"]


class Folded(nn.Module):
    """A linear map over tokens that lie in the batch, one that is called twice, and one whose weight is only read."""

    def __init__(self):
        super().__init__()
        self.each, self.again, self.only_read, self.head = (nn.Linear(4, 4) for _ in range(4))

    def forward(self, x):
        tokens = self.each(x.reshape(-1, 4)).relu()
        tokens = self.again(self.again(tokens).relu() + 1)
        return self.head(nn.functional.linear(tokens, self.only_read.weight).reshape(-1, 3, 4).mean(1))[:, :3]


def folded(make, seed, count=200):
    torch.manual_seed(seed)
    module = Folded()
    torch.manual_seed(9)
    return make(module, torch.randn(count, 12), torch.randint(0, 3, (count,)))


def test_positions_count_wherever_they_lie_and_each_call_has_statistics_of_its_own(make):
    problem = folded(make, 0)
    found = repair.measure(problem, theta_of(problem), {}, problem.train, ["each", "again", "only_read"])
    assert list(found) == ["each", "again", "again#1"]
    module, (x, _) = problem.module, next(iter(problem.train))
    outputs = module.each(x.reshape(-1, 4))
    torch.testing.assert_close(found["each"].mean, outputs.mean(0))
    first = module.again(outputs.relu())
    torch.testing.assert_close(found["again"].std, first.std(0, unbiased=False))
    torch.testing.assert_close(found["again#1"].mean, module.again(first.relu() + 1).mean(0))


def test_a_reset_to_itself_is_the_identity_also_over_several_batches(make, rebatched):
    problem = rebatched(folded(make, 0), 64)
    theta, (x, _) = theta_of(problem), next(iter(problem.train))
    own = repair.measure(problem, theta, {}, problem.train, ["each", "again"])
    found = repair.measure(problem, theta, {}, problem.train, ["each", "again"], own)
    torch.testing.assert_close(found["each"].mean, own["each"].mean)
    before = problem.outputs(theta, {}, x)
    with repair.reset(problem, own, own):
        torch.testing.assert_close(problem.outputs(theta, {}, x), before)
