import pytest
import torch
from torch import nn

from rashomon_cli.science.batchnorm import refresh
from rashomon_cli.science.problem import Layout, Problem, fresh_buffers, squared_error
from rashomon_cli.sources.batches import Batches


def problem_of(module, x, size):
    batches = Batches(x, torch.zeros(len(x)), size, population=len(x), dtype=x.dtype)
    problem = Problem(module, Layout.of(module), squared_error, batches, batches)
    return problem, problem.layout.flatten(dict(module.named_parameters())), fresh_buffers(module)


@pytest.fixture
def x():
    return torch.randn(10, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3 + 1


def test_one_batch_gives_the_statistics_of_all_data(x):
    problem, theta, buffers = problem_of(nn.BatchNorm2d(3).double(), x, 10)
    fresh = refresh(problem, theta, buffers, problem.train)
    torch.testing.assert_close(fresh["running_mean"], x.mean((0, 2, 3)))
    torch.testing.assert_close(fresh["running_var"], x.transpose(0, 1).flatten(1).var(1, unbiased=True))
    assert torch.equal(buffers["running_mean"], torch.zeros(3))


def test_batches_of_unequal_size_count_by_their_size(x):
    problem, theta, buffers = problem_of(nn.BatchNorm2d(3).double(), x, 7)
    fresh = refresh(problem, theta, buffers, problem.train)
    parts = [x[:7], x[7:]]
    variance = sum(len(p) * p.transpose(0, 1).flatten(1).var(1, unbiased=True) for p in parts) / 10
    torch.testing.assert_close(fresh["running_mean"], x.mean((0, 2, 3)))
    torch.testing.assert_close(fresh["running_var"], variance)


def test_the_second_layer_sees_what_the_first_gives_in_training_mode(x):
    module = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.9), nn.ReLU(), nn.BatchNorm2d(3)).double()
    problem, theta, buffers = problem_of(module, x, 10)
    ticks = []
    fresh = refresh(problem, theta, buffers, problem.train, ticks.append)
    expected = nn.functional.batch_norm(x, None, None, training=True).relu()
    torch.testing.assert_close(fresh["3.running_mean"], expected.mean((0, 2, 3)))
    assert len(ticks) == 1


def test_flags_and_momenta_of_the_module_stay_as_they_were(x):
    module = nn.Sequential(nn.BatchNorm2d(3, momentum=None), nn.BatchNorm2d(3, momentum=0.3), nn.Dropout()).double()
    module.train()
    module[1].eval()
    problem, theta, buffers = problem_of(module, x, 4)
    refresh(problem, theta, buffers, problem.train)
    assert [module.training, *[m.training for m in module]] == [True, True, False, True]
    assert [module[0].momentum, module[1].momentum] == [None, 0.3]

    def fail(loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(problem, theta, buffers, problem.train, fail)
    assert [m.training for m in module] == [True, False, True]
    assert module[1].momentum == 0.3


def test_files_that_lie_class_by_class_give_the_statistics_of_mixed_batches():
    # Batches of one class each would leave the variance between the classes out: 1 instead of 26.
    x = torch.cat([torch.randn(400, 1), 10 + torch.randn(400, 1)])
    data = Batches(x, torch.arange(800) // 400, 100, population=800)
    module = nn.BatchNorm1d(1)
    problem = Problem(module, Layout.of(module), squared_error, data, data)
    theta = problem.layout.flatten(dict(module.named_parameters()))
    for sample in (data.sample(None, 0), data.sample(600, 0)):
        fresh = refresh(problem, theta, fresh_buffers(module), sample)
        assert float(fresh["running_var"]) == pytest.approx(26, rel=0.1)
        assert float(fresh["running_mean"]) == pytest.approx(5, rel=0.1)


def test_without_batchnorm_the_buffers_are_copies(x):
    module = nn.Flatten()
    buffers = {"a": torch.ones(2)}
    problem = Problem(module, Layout((), ()), squared_error, None, None)
    fresh = refresh(problem, torch.zeros(0), buffers, [])
    assert torch.equal(fresh["a"], buffers["a"])
    assert fresh["a"] is not buffers["a"]
