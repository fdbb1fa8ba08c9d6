"""Spectra of Gauss-Newton matrices from Gram matrices, against the matrix written out and against theory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from torch import nn

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Point, cross_entropy, squared_error
from rashomon_cli.science.spectra.gram import eigenvalues, spectrum
from rashomon_cli.science.spectra.gram_matrix import passes
from rashomon_cli.science.spectra.matrices import Dense
from rashomon_cli.science.spectra.output_factors import factors
from rashomon_cli.science.spectra.residual import residual_norm
from rashomon_cli.science.spectra.weighted_jacobian import WeightedJacobian
from rashomon_cli.sources.models.mlp import mlp


def plain_cross_entropy(outputs, targets):
    """The same loss, not recognised: its Hessian comes by differentiation."""
    return cross_entropy(outputs, targets)


def poisson(outputs, targets):
    return (outputs.exp() - targets.reshape(outputs.shape) * outputs).sum(1)


def jacobian(problem, point, x):
    def outputs(theta):
        return problem.outputs(theta, point.buffers, x)

    problem.module.eval()
    return torch.autograd.functional.jacobian(outputs, point.theta)


def dense_ggn(problem, point):
    """``(1/n) Σ JᵢᵀHᵢJᵢ``, every factor written out."""
    total = torch.zeros(point.theta.numel(), point.theta.numel(), dtype=torch.float64)
    for x, y in problem.train:
        rows = jacobian(problem, point, x)
        outputs = problem.outputs(point.theta, point.buffers, x).detach()
        for one, out, target in zip(rows, outputs, y):
            inner = torch.autograd.functional.hessian(lambda o, t=target: problem.loss(o[None], t[None])[0], out)
            total += one.T @ inner @ one
    return total / problem.train.count


def dense_fisher(problem, point):
    problem.module.eval()
    total = torch.zeros(point.theta.numel(), point.theta.numel(), dtype=torch.float64)
    for x, y in problem.train:
        for k in range(len(x)):
            theta = point.theta.clone().requires_grad_()
            (g,) = torch.autograd.grad(problem.mean_loss(theta, point.buffers, x[k : k + 1], y[k : k + 1]), theta)
            total += torch.outer(g, g)
    return total / problem.train.count


def few(problem, count):
    """The same problem on its first examples."""
    data = replace(problem.train, x=problem.train.x[:count], y=problem.train.y[:count], population=count)
    return replace(problem, train=data)


def whole(found):
    return np.sort(np.concatenate([found.values, np.zeros(found.zeros)]))


@hypothesis.given(st.lists(st.floats(-30, 30), min_size=2, max_size=6))
@hypothesis.settings(max_examples=50, deadline=None)
def test_softmax_s_factor_is_a_root_of_its_curvature(logits):
    outputs = torch.tensor([logits], dtype=torch.float64)
    found = factors(cross_entropy, outputs, torch.zeros(1, dtype=torch.int64))
    p = outputs.softmax(1)[0]
    torch.testing.assert_close(
        found.columns[0] @ found.columns[0].T, torch.diag(p) - torch.outer(p, p), atol=1e-14, rtol=0
    )
    assert found.rank == len(logits) - 1


def test_any_convex_loss_has_a_root_by_differentiation():
    torch.manual_seed(0)
    outputs, targets = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1])
    known, found = (factors(loss, outputs, targets) for loss in (cross_entropy, plain_cross_entropy))
    torch.testing.assert_close(found.columns @ found.columns.mT, known.columns @ known.columns.mT)
    assert found.rank == known.rank == 10
    squares = factors(squared_error, outputs, targets)
    torch.testing.assert_close(squares.columns, (2 / 3) ** 0.5 * torch.eye(3, dtype=torch.float64).expand(5, 3, 3))
    counts = factors(poisson, outputs, torch.ones(5, 3))
    torch.testing.assert_close(counts.columns @ counts.columns.mT, torch.diag_embed(outputs.detach().exp()))


def test_a_loss_that_is_linear_in_the_outputs_has_no_curvature():
    found = factors(lambda o, t: o.sum(1), torch.randn(4, 3), torch.zeros(4))
    assert found.rank == 0
    assert not found.columns.any()


def test_a_loss_that_is_not_convex_in_the_outputs_is_refused():
    with pytest.raises(Refused, match=r"not convex in the outputs.*-0\."):
        factors(lambda o, t: o.sin().sum(1), torch.full((2, 3), 0.7), torch.zeros(2))


@pytest.mark.parametrize("count", [130, 7])
@pytest.mark.parametrize("kind", ["ggn", "fisher"])
def test_all_eigenvalues_are_those_of_the_matrix_written_out(case, kind, count):
    problem, point = case
    problem = few(problem, count)
    expected = torch.linalg.eigvalsh((dense_ggn if kind == "ggn" else dense_fisher)(problem, point)).numpy()
    found = spectrum(problem, point, problem.train, kind=kind)
    np.testing.assert_allclose(whole(found), expected, atol=1e-12 * expected[-1])
    assert found.rank_bound == count * (2 if kind == "ggn" else 1)


@pytest.mark.parametrize("loss", [squared_error, poisson, plain_cross_entropy])
def test_any_convex_loss_has_a_gram_matrix(make, loss):
    torch.manual_seed(0)
    y = torch.randint(0, 3, (20,)) if loss is not poisson else torch.rand(20, 3, dtype=torch.float64)
    problem = make(mlp((4,), 3, width=4, depth=1), torch.randn(20, 4), y, loss=loss)
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})
    expected = torch.linalg.eigvalsh(dense_ggn(problem, point)).numpy()
    np.testing.assert_allclose(whole(spectrum(problem, point, problem.train)), expected, atol=1e-12 * expected[-1])


def test_little_memory_takes_more_passes_and_gives_the_same(cnn_case):
    problem, point = cnn_case
    problem = few(problem, 23)
    one = spectrum(problem, point, problem.train)
    side, row = 8 * 69**2, 8 * 3 * point.theta.numel()
    memory = side + 14 * row
    several = spectrum(problem, point, problem.train, memory=memory)
    assert (one.passes, several.passes) == (1, passes(3, 23, point.theta.numel(), memory)) == (1, 3)
    np.testing.assert_allclose(several.values, one.values, atol=1e-14 * one.values[-1])


def test_batches_of_any_size_give_the_same(cnn_case, rebatched):
    problem, point = cnn_case
    one, other = (spectrum(p, point, p.train).values for p in (rebatched(problem, 65), rebatched(problem, 128)))
    np.testing.assert_allclose(one, other, atol=1e-13 * one[-1])


def test_what_does_not_fit_is_refused_before_any_work(mlp_case):
    problem, point = mlp_case
    with pytest.raises(Refused, match="needs") as refusal:
        spectrum(problem, point, problem.train, memory=1000)
    # Three rows an example: 9/8 of the squared number of rows in bytes of 8 are below 1000 up to 10 rows.
    size = point.theta.numel()
    assert refusal.value.hint == (
        "allow more by --dimension-memory 0.1, or count by quadrature; "
        f"3 examples would fit, of which at least {size - 9} of {size} eigenvalues are 0 whatever the network is"
    )
    with pytest.raises(Refused, match="needs") as refusal:
        spectrum(problem, point, problem.train, memory=50)
    assert refusal.value.hint == "allow more by --dimension-memory 0.1, or count by quadrature"


def test_a_gram_matrix_is_solved_where_it_lies():
    rows = torch.randn(300, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = np.linalg.svd(rows.numpy(), compute_uv=False)[::-1] ** 2
    lower = (rows @ rows.T).tril()
    tracemalloc.start()
    try:
        found = eigenvalues(lower)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert peak < 0.3 * lower.nbytes


def test_a_matrix_that_is_not_finite_is_refused():
    with pytest.raises(Refused, match="not finite"):
        eigenvalues(torch.tensor([[1.0, 0.0], [0.0, np.nan]], dtype=torch.float64))


def test_some_parameters_are_a_principal_block(mlp_case):
    problem, point = mlp_case
    chosen = torch.zeros(point.theta.numel(), dtype=torch.bool)
    chosen[3:17] = True
    block = dense_ggn(problem, point)[chosen][:, chosen]
    found = spectrum(problem, point, problem.train, chosen=chosen)
    np.testing.assert_allclose(whole(found), torch.linalg.eigvalsh(block), atol=1e-12)


class Branching(nn.Module):
    """What it does depends on the data: it cannot be batched over examples."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        out = self.linear(x)
        return out.tanh() if float(x.detach().sum()) > -1e9 else out


def test_a_model_that_cannot_be_batched_is_gone_through_one_by_one(make):
    torch.manual_seed(0)
    problem = make(Branching(), torch.randn(9, 4), torch.randint(0, 3, (9,)))
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})
    expected = torch.linalg.eigvalsh(dense_ggn(problem, point)).numpy()
    np.testing.assert_allclose(whole(spectrum(problem, point, problem.train)), expected, atol=1e-14)


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear(x - x.mean(0))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(4, 3, batch_first=True), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(4, 2, 5, dropout=0.0, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.layer(x).mean(1))


@pytest.mark.parametrize("build", [Recurrent, Attending])
def test_sequences(make, build):
    torch.manual_seed(0)
    problem = make(build(), torch.randn(9, 5, 4), torch.randint(0, 3, (9,)))
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})
    expected = torch.linalg.eigvalsh(dense_ggn(problem, point)).numpy()
    np.testing.assert_allclose(whole(spectrum(problem, point, problem.train)), expected, atol=1e-14)


def test_outputs_that_depend_on_the_batch_are_refused(make):
    torch.manual_seed(0)
    problem = make(Centred(), torch.randn(9, 4), torch.randint(0, 3, (9,)))
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})
    with pytest.raises(Refused, match="depend on the others of its batch"):
        spectrum(problem, point, problem.train)


@pytest.mark.parametrize("kind", ["ggn", "fisher"])
def test_they_are_refused_even_where_no_block_has_two_examples(make, kind):
    torch.manual_seed(0)
    problem = make(Centred(), torch.randn(9, 4), torch.randint(0, 3, (9,)))
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())), {})
    with pytest.raises(Refused, match="depend on the others of its batch"):
        next(WeightedJacobian(problem, point, problem.train, kind).blocks(1))


def test_blocks_begin_where_asked(mlp_case):
    problem, point = mlp_case
    rows = WeightedJacobian(problem, point, problem.train)
    all_rows = torch.cat([block.rows for block in rows.blocks(50)])
    assert all_rows.shape == (rows.height, rows.size) == (390, point.theta.numel())
    torch.testing.assert_close(torch.cat([block.rows for block in rows.blocks(7, first=33)]), all_rows[99:])


def test_a_count_has_the_zeros_of_few_examples_by_construction(mlp_case):
    problem, point = mlp_case
    size = point.theta.numel()
    found = spectrum(few(problem, 7), point, few(problem, 7).train)
    count = found.count(np.array([1e-9, 1e9]))
    assert count.value.tolist() == count.low.tolist() == count.high.tolist() == [size - 14, size]
    assert found.rank_bound == 14


def test_weight_decay_lifts_every_eigenvalue(mlp_case):
    problem, point = mlp_case
    plain = spectrum(few(problem, 7), point, few(problem, 7).train)
    lifted = spectrum(few(problem, 7), point, few(problem, 7).train, shift=0.25)
    taus = np.array([1e-3, 0.24, 0.26, 0.5, 2.0])
    assert lifted.count(taus).value.tolist() == [
        float((np.abs(whole(plain) + 0.25) <= tau).sum()) for tau in taus.tolist()
    ]


def test_the_hessian_s_count_is_within_weyl_s_interval(case, dense):
    problem, point = case
    hessian, ggn = dense(problem, point), dense_ggn(problem, point)
    apart = residual_norm(Dense(hessian), Dense(ggn))
    exact = float(torch.linalg.matrix_norm(hessian - ggn, 2))
    assert exact <= apart <= 1.02 * exact
    taus = np.geomspace(1e-4, 10, 30)
    count = spectrum(problem, point, problem.train).count(taus, apart)
    sizes = torch.linalg.eigvalsh(hessian).abs().numpy()
    true = np.array([(sizes <= tau).sum() for tau in taus])
    assert (count.low <= true).all()
    assert (true <= count.high).all()
    assert (count.high - count.low)[taus < apart].min() > 0


def test_a_residual_that_is_not_known_says_nothing(mlp_case):
    problem, point = mlp_case
    count = spectrum(problem, point, problem.train).count(np.array([0.1]), residual=np.inf)
    assert (count.low.tolist(), count.high.tolist()) == ([0.0], [point.theta.numel()])


def test_the_residual_of_equal_matrices_is_zero():
    matrix = torch.diag(torch.arange(30, dtype=torch.float64))
    assert residual_norm(Dense(matrix), Dense(matrix)) == 0.0


def test_rounding_of_float32_stays_within_its_bound(make):
    torch.manual_seed(0)
    problem = make(mlp((4,), 3, width=5, depth=2), torch.randn(130, 4), torch.randint(0, 3, (130,)))
    point = Point(problem.layout.flatten(dict(problem.module.named_parameters())).float(), {})
    wide = spectrum(problem, Point(point.theta.double(), {}), problem.train)
    data = replace(problem.train, x=problem.train.x.float(), dtype=torch.float32)
    narrow = spectrum(replace(problem, module=problem.module.float(), train=data), point, data)
    off = np.abs(narrow.values - wide.values)
    assert (off <= narrow.errors).all()
    assert narrow.errors[0] < 1e-8 * narrow.values[-1]
