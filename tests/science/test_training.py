import copy
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from rashomon_cli.core.errors import Diverged
from rashomon_cli.science.problem import Layout, Problem, cross_entropy, fresh_buffers, squared_error
from rashomon_cli.science.training import SGD, TrainState, hold, learning_rate, train
from rashomon_cli.sources.batches import Batches, Stream


def setting(module, count=24, size=8, outputs=3, loss=cross_entropy, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 5, generator=generator, dtype=dtype)
    y = torch.randint(0, outputs, (count,), generator=generator)
    batches = Batches(x, y, size, population=count, dtype=dtype)
    module = module.to(dtype)
    problem = Problem(module, Layout.of(module), loss, batches, batches)
    theta = problem.layout.flatten(dict(module.named_parameters()))
    return problem, Stream(batches, 1), TrainState(0, theta, None, fresh_buffers(module))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def run(problem, stream, cfg, state, **options):
    return list(train(problem, stream, stream.steps, cfg, state, **options))


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        ("one-cycle", 0.0, 0.1),
        ("one-cycle", 0.125, 0.55),
        ("one-cycle", 0.25, 1.0),
        ("one-cycle", 0.625, 0.5),
        ("one-cycle", 1.0, 0.0),
        ("step", 0.0, 1.0),
        ("step", 0.49, 1.0),
        ("step", 0.5, 0.1),
        ("step", 0.75, 0.01),
        ("constant", 0.9, 1.0),
    ],
)
def test_the_learning_rate_at_key_points(schedule, progress, expected):
    assert learning_rate(SGD(10, 2.0, schedule=schedule), progress) == pytest.approx(2 * expected)


@given(st.sampled_from(["one-cycle", "step", "constant"]), st.floats(0, 1, exclude_max=True))
def test_the_learning_rate_stays_within_its_bounds(schedule, progress):
    assert 0 <= learning_rate(SGD(1, 0.3, schedule=schedule), progress) <= 0.3


@pytest.mark.parametrize(
    ("momentum", "nesterov", "decay", "smoothing"),
    [(0.0, True, 0.0, 0.0), (0.9, False, 1e-2, 0.0), (0.9, True, 1e-2, 0.0), (0.5, True, 0.0, 0.3)],
)
def test_a_step_is_that_of_torch_on_the_plain_module(momentum, nesterov, decay, smoothing):
    module = network()
    problem, stream, state = setting(module)
    plain = copy.deepcopy(module).train()
    cfg = SGD(2, 0.2, momentum, nesterov, decay, "constant", smoothing)
    optimiser = torch.optim.SGD(
        plain.parameters(), 0.2, momentum, weight_decay=decay, nesterov=nesterov and momentum > 0
    )
    for epoch, after in enumerate(train(problem, stream, stream.steps, cfg, state)):
        for x, y in stream(epoch):
            optimiser.zero_grad()
            nn.functional.cross_entropy(plain(x), y, label_smoothing=smoothing).backward()
            optimiser.step()
        torch.testing.assert_close(after.theta, nn.utils.parameters_to_vector(plain.parameters()), rtol=0, atol=1e-12)
        for name, value in plain.named_buffers():
            torch.testing.assert_close(after.buffers[name], value)


def test_dropout_goes_on_exactly_after_a_stop():
    module = nn.Sequential(nn.Linear(5, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    problem, stream, state = setting(module)
    cfg = SGD(4, 0.1, seed=3)
    torch.manual_seed(1)
    whole = run(problem, stream, cfg, state)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    rest = run(problem, stream, cfg, whole[1])
    assert torch.equal(torch.get_rng_state(), before)
    assert [s.epoch for s in whole] == [1, 2, 3, 4]
    assert torch.equal(rest[-1].theta, whole[-1].theta)
    assert torch.equal(rest[-1].velocity, whole[-1].velocity)


def test_a_mask_holds_through_momentum_and_decay():
    problem, stream, state = setting(network())
    mask = (torch.arange(len(state.theta)) % 3 > 0).double()
    start = TrainState(0, state.theta * mask, torch.ones_like(mask), state.buffers)
    for after in run(problem, stream, SGD(3, 0.5), start, mask=mask):
        assert torch.all(after.theta[mask == 0] == 0)
        assert torch.all(after.velocity[mask == 0] == 0)
        assert torch.count_nonzero(after.theta) == torch.count_nonzero(mask)


def test_holding_without_momentum():
    theta = torch.ones(3)
    hold(theta, None, torch.tensor([1.0, 0, 1]))
    assert theta.tolist() == [1, 0, 1]


def test_a_loss_that_is_not_finite_stops_the_training():
    def broken(outputs, targets):
        return cross_entropy(outputs, targets) * (math.nan if len(calls) >= 4 else 1.0)

    calls = []
    problem, stream, state = setting(network(), loss=broken)
    training = train(problem, stream, stream.steps, SGD(3, 0.5), state, tick=calls.append)
    assert next(training).epoch == 1
    with pytest.raises(Diverged, match="nan in epoch 2, step 2") as caught:
        next(training)
    assert "--lr 0.1" in caught.value.hint


def test_the_mean_loss_of_an_epoch_is_the_mean_over_its_examples():
    problem, stream, state = setting(network(), count=20, size=8)
    losses = []
    (after,) = run(problem, stream, SGD(1, 0.1), state, tick=losses.append)
    assert len(losses) == stream.steps == 3
    assert after.mean_loss == pytest.approx((8 * losses[0] + 8 * losses[1] + 4 * losses[2]) / 20)


def test_linear_regression_converges_to_the_least_squares_solution():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 4, generator=generator, dtype=torch.float64)
    y = torch.randn(40, generator=generator, dtype=torch.float64)
    batches = Batches(x, y, 40, population=40, dtype=torch.float64)
    module = nn.Linear(4, 1, bias=False).double()
    problem = Problem(module, Layout.of(module), squared_error, batches, batches, False)
    start = TrainState(0, torch.zeros(4, dtype=torch.float64), None, {})
    cfg = SGD(300, 0.1, weight_decay=0.0, schedule="constant")
    state = run(problem, Stream(batches, 0), cfg, start)[-1]
    torch.testing.assert_close(state.theta, torch.linalg.lstsq(x, y[:, None]).solution[:, 0], rtol=0, atol=1e-8)


def test_bf16_changes_the_steps_but_not_the_type_of_the_parameters():
    problem, stream, state = setting(network(), dtype=torch.float32)
    plain, short = (run(problem, stream, SGD(2, 0.1, bf16=bf16), state)[-1] for bf16 in (False, True))
    assert short.theta.dtype == torch.float32
    assert not torch.equal(plain.theta, short.theta)
    assert float((plain.theta - short.theta).norm() / plain.theta.norm()) < 0.05
