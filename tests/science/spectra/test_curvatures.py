"""Matrices of networks against the dense ones in float64, written out by PyTorch's own derivatives."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torchvision.models import VisionTransformer

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.estimates import MeanVector
from rashomon_cli.science.problem import Layout, Point, Problem, cross_entropy, fresh_buffers, squared_error
from rashomon_cli.science.spectra import curvatures
from rashomon_cli.science.spectra.curvatures import KINDS, Curvature
from rashomon_cli.science.spectra.graphs import Frozen
from rashomon_cli.science.spectra.memory import measured
from rashomon_cli.sources.models.mlp import mlp
from rashomon_cli.sources.models.preresnet import PreResNet
from rashomon_cli.sources.models.smallcnn import smallcnn

EXACT = {"rtol": 0.0, "atol": 1e-10}


class Reader(nn.Module):
    """An LSTM and a linear layer on its last state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 3, batch_first=True)
        self.head = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def transformer():
    net = VisionTransformer(
        image_size=4, patch_size=2, num_layers=1, num_heads=2, hidden_dim=4, mlp_dim=6, num_classes=3
    )
    nn.init.normal_(net.heads.head.weight)  # torchvision's is 0: nothing below it would have any curvature
    return net


NETWORKS = {
    "vit": (transformer, (3, 4, 4)),
    "lstm": (Reader, (5, 2)),
}


@pytest.fixture(params=["mlp_case", "cnn_case", "vit", "lstm"])
def network(request, make):
    if request.param not in NETWORKS:
        return request.getfixturevalue(request.param)
    build, shape = NETWORKS[request.param]
    torch.manual_seed(2)
    problem = make(build(), torch.randn(130, *shape), torch.randint(0, 3, (130,)))
    return problem, point_of(problem)


def point_of(problem):
    return Point(problem.layout.flatten(dict(problem.module.named_parameters())), fresh_buffers(problem.module))


def vectors_for(count, size, seed=5):
    return torch.randn(count, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense(problem, point, kind):
    """The matrix (P, P) by PyTorch's Jacobians and Hessians of functions of the flat θ."""
    problem.module.eval()
    data = list(problem.train)
    x, y = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    with sdpa_kernel(SDPBackend.MATH):
        if kind == "hessian":
            of = lambda theta: problem.loss(problem.outputs(theta, point.buffers, x), y).mean()  # noqa: E731
            return torch.autograd.functional.hessian(of, point.theta)
        outputs = problem.outputs(point.theta, point.buffers, x)
        jacobian = torch.autograd.functional.jacobian(lambda t: problem.outputs(t, point.buffers, x), point.theta)
    each = [slice(row, row + 1) for row in range(len(x))]
    if kind == "ggn":
        terms = []
        for row in each:
            j = jacobian[row].flatten(0, -2)
            of = lambda o: problem.loss(o, y[row]).sum()  # noqa: B023, E731
            h = torch.autograd.functional.hessian(of, outputs[row].detach()).reshape(len(j), len(j))
            terms.append(j.T @ h @ j)
        return sum(terms) / len(x)
    o = outputs.detach().requires_grad_()
    slopes = torch.autograd.grad(problem.loss(o, y).sum(), o)[0]
    gradients = torch.einsum("ni,nip->np", slopes.flatten(1), jacobian.flatten(1, -2))
    return gradients.T @ gradients / len(x)


def slope(problem, point):
    """The gradient (P,) of the mean loss of the first batch."""
    theta = point.theta.clone().requires_grad_()
    return torch.autograd.grad(problem.mean_loss(theta, point.buffers, *next(iter(problem.train))), theta)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_products_are_those_of_the_dense_matrix(network, kind):
    problem, point = network
    expected = dense(problem, point, kind)
    matrix = Curvature(problem, point, problem.train, kind)
    vectors = vectors_for(3, matrix.size)
    torch.testing.assert_close(matrix(vectors), vectors @ expected, **EXACT)
    assert float(expected.abs().max()) > 1e-3
    assert matrix.matvecs == 3


@pytest.mark.parametrize("kind", KINDS)
def test_batches_of_128_and_2_and_of_65_and_65_agree(network, rebatched, kind):
    problem, point = network
    sizes = [[len(x) for x, _ in rebatched(problem, size).train] for size in (128, 65)]
    assert sizes == [[128, 2], [65, 65]]
    vectors = vectors_for(2, problem.layout.total)
    whole, uneven, even = (
        Curvature(problem, point, rebatched(problem, size).train, kind)(vectors) for size in (130, 128, 65)
    )
    torch.testing.assert_close(uneven, whole, **EXACT)
    torch.testing.assert_close(even, whole, **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_matrices_are_symmetric_and_those_of_squares_not_negative(cnn_case, kind):
    problem, point = cnn_case
    matrix = Curvature(problem, point, problem.train, kind)
    whole = matrix(torch.eye(matrix.size, dtype=torch.float64))
    torch.testing.assert_close(whole, whole.T, **EXACT)
    least = float(torch.linalg.eigvalsh(whole)[0])
    assert least < -1e-3 if kind == "hessian" else least > -1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_a_block_is_that_of_the_dense_matrix_in_its_own_order(cnn_case, kind):
    problem, point = cnn_case
    whole = dense(problem, point, kind)
    mask = torch.zeros(problem.layout.total, dtype=torch.bool)
    mask[20:50] = True  # the end of one layer, all of others, the start of another
    places = torch.tensor([44, 3, 97, 4])
    for chosen, rows in ((mask, mask.nonzero()[:, 0]), (places, places)):
        matrix = Curvature(problem, point, problem.train, kind, chosen=chosen)
        assert matrix.size == len(rows)
        found = matrix(torch.eye(len(rows), dtype=torch.float64))
        torch.testing.assert_close(found, whole[rows][:, rows], **EXACT)
        gradient = Curvature(problem, point, problem.train).gradient()
        torch.testing.assert_close(matrix.gradient(), gradient[rows], **EXACT)


@pytest.mark.parametrize(
    "chosen",
    [torch.zeros(103, dtype=torch.bool), torch.ones(4, dtype=torch.bool), torch.tensor([1, 1]), torch.tensor([103])],
    ids=["nothing", "a short mask", "one twice", "one too many"],
)
def test_a_block_that_is_none_is_refused(cnn_case, chosen):
    problem, point = cnn_case
    assert problem.layout.total < 104
    with pytest.raises(ValueError, match=r"chosen|mask|places"):
        Curvature(problem, point, problem.train, chosen=chosen)


def test_a_kind_that_does_not_exist_is_refused(mlp_case):
    problem, point = mlp_case
    with pytest.raises(ValueError, match="kind = 'hesse': one of hessian, ggn, fisher"):
        Curvature(problem, point, problem.train, "hesse")


def test_the_shift_is_added_to_the_diagonal_of_a_block_too(mlp_case):
    problem, point = mlp_case
    chosen = torch.arange(7)
    plain, shifted = (Curvature(problem, point, problem.train, chosen=chosen, shift=s) for s in (0.0, 0.25))
    vectors = vectors_for(2, 7)
    torch.testing.assert_close(shifted(vectors), plain(vectors) + 0.25 * vectors, **EXACT)
    (batch,) = shifted.by_batch(vectors)
    torch.testing.assert_close(batch.products, shifted(vectors), **EXACT)
    torch.testing.assert_close(batch.gradient, plain.gradient(), **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_batches_give_their_own_products_and_gradients_and_standard_errors_follow(mlp_case, rebatched, kind):
    problem, point = mlp_case
    data = replace(rebatched(problem, 26).train, population=1000)
    matrix = Curvature(problem, point, data, kind)
    vectors = vectors_for(2, matrix.size)
    mean, parts = MeanVector(data.steps, data.population), []
    for batch, (x, y) in zip(matrix.by_batch(vectors), data, strict=True):
        one = replace(problem, train=type(data)(x, y, 1000, population=len(x), dtype=torch.float64))
        torch.testing.assert_close(batch.products, vectors @ dense(one, point, kind), **EXACT)
        torch.testing.assert_close(batch.gradient, slope(one, point), **EXACT)
        mean.add(batch.products[0], batch.count)
        parts.append(float(batch.products[0] @ vectors[0]))
    torch.testing.assert_close(mean.mean(), matrix(vectors)[0], **EXACT)
    value, error = mean.projection(vectors[0])
    assert value == pytest.approx(np.mean(parts))
    assert error == pytest.approx(np.std(parts, ddof=1) / np.sqrt(5) * np.sqrt(1 - 130 / 1000))


@pytest.mark.parametrize("kind", KINDS)
def test_no_vectors_give_gradients_alone(cnn_case, kind):
    problem, point = cnn_case
    (alone,) = Curvature(problem, point, problem.train, kind).by_batch(vectors_for(0, problem.layout.total))
    torch.testing.assert_close(alone.gradient, slope(problem, point), **EXACT)
    assert alone.products.shape == (0, problem.layout.total)


def test_a_quadratic_has_the_spectrum_of_its_matrix_and_its_gradient(function_problem):
    root = torch.from_numpy(np.random.default_rng(0).normal(size=(5, 5)))
    symmetric = root @ root.T
    problem = function_problem(lambda p: 0.5 * (p @ symmetric * p).sum(1), 5)
    matrix = Curvature(problem, Point(torch.ones(5).double(), {}), problem.train)
    torch.testing.assert_close(matrix(torch.eye(5).double()), symmetric)
    torch.testing.assert_close(matrix.gradient(), symmetric.sum(1))


def test_a_loss_that_is_linear_in_the_parameters_has_no_curvature(function_problem):
    problem = function_problem(lambda p: p.sum(1), 4)
    matrix = Curvature(problem, Point(torch.zeros(4).double(), {}), problem.train)
    assert not matrix(torch.eye(4).double()).any()
    assert torch.equal(matrix.gradient(), torch.ones(4).double())


def test_squared_error_of_a_linear_model_has_its_gauss_newton_matrix_as_hessian(make):
    torch.manual_seed(3)
    problem = make(nn.Linear(4, 2), torch.randn(20, 4), torch.randn(20, 2), squared_error)
    matrices = [Curvature(problem, point_of(problem), problem.train, kind) for kind in ("hessian", "ggn")]
    identity = torch.eye(10, dtype=torch.float64)
    hessian, gauss_newton = (matrix(identity) for matrix in matrices)
    torch.testing.assert_close(hessian, gauss_newton, **EXACT)
    x = torch.cat([problem.train.x, torch.ones(20, 1).double()], 1)  # the bias is a weight of a constant input
    expected = torch.linalg.eigvalsh(x.T @ x / 20).repeat_interleave(2)
    torch.testing.assert_close(torch.linalg.eigvalsh(hessian), expected)


def test_the_gauss_newton_matrix_of_cross_entropy_is_the_fisher_matrix_of_the_models_own_labels(mlp_case):
    problem, point = mlp_case
    x = problem.train.x
    chances = torch.softmax(problem.outputs(point.theta, point.buffers, x), 1)
    expected = 0.0
    for label in range(3):
        target = torch.full((1,), label)

        def loss(theta, row, target=target):
            return problem.mean_loss(theta, point.buffers, x[row : row + 1], target)

        each = [torch.autograd.functional.jacobian(lambda t, r=r: loss(t, r), point.theta) for r in range(len(x))]
        g = torch.stack(each)
        expected = expected + (g * chances[:, label : label + 1]).T @ g / len(x)
    vectors = vectors_for(2, problem.layout.total)
    matrices = [Curvature(problem, point, problem.train, kind)(vectors) for kind in ("ggn", "fisher")]
    torch.testing.assert_close(matrices[0], vectors @ expected.detach(), **EXACT)
    assert float((matrices[1] - matrices[0]).abs().max()) > 1e-3  # the empirical one is another matrix


def test_float32_products_are_those_of_float64_to_its_rounding():
    torch.manual_seed(4)
    module = PreResNet((3, 8, 8), 4, 8, width=4)
    found = {}
    for dtype in (torch.float32, torch.float64):
        typed = module.to(dtype)
        layout = Layout.of(typed)
        generator = torch.Generator().manual_seed(0)
        x, y = torch.randn(40, 3, 8, 8, generator=generator).to(dtype), torch.arange(40) % 4
        data = smallest(x, y)
        problem = Problem(typed, layout, cross_entropy, data, data)
        matrix = Curvature(problem, point_of(problem), data, shift=0.5)
        found[dtype] = matrix(vectors_for(2, matrix.size))
        assert found[dtype].dtype == dtype
    scale = found[torch.float64].abs().max()
    assert float((found[torch.float32].double() - found[torch.float64]).abs().max() / scale) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_float32_products_are_as_precise_where_every_example_is_fitted(kind):
    """At a loss of 1e-6, p − y and p(1 − p) are differences of nearly equal numbers; outputs in float32 allow 1e-5."""
    torch.manual_seed(0)
    module = mlp((6,), 3, width=12, depth=2)
    x = torch.randn(200, 6)
    with torch.no_grad():
        ranked = module(x).sort(dim=1).values
        margins, kept = (ranked[:, -1] - ranked[:, -2]).topk(60)
        x = x[kept]
        y = module(x).argmax(1)
        for each in module.layers[-1].parameters():
            each *= 14 / float(margins.min())
    found = {}
    for dtype in (torch.float32, torch.float64):
        typed = module.to(dtype)
        data = smallest(x.to(dtype), y)
        problem = Problem(typed, Layout.of(typed), cross_entropy, data, data)
        assert float(problem.mean_loss(point_of(problem).theta, {}, x.to(dtype), y)) < 1e-6
        matrix = Curvature(problem, point_of(problem), data, kind)
        found[dtype] = matrix(torch.eye(matrix.size)).double(), matrix.gradient().double()
    for narrow, wide in zip(found[torch.float32], found[torch.float64], strict=True):
        assert float((narrow - wide).abs().max() / wide.abs().max()) < 3e-5


def smallest(x, y, size=16):
    from rashomon_cli.sources.batches import Batches

    return Batches(x, y, size, population=len(x), dtype=x.dtype)


class Counted:
    """Batches that count how often they are gone through."""

    def __init__(self, inner):
        self.inner, self.count, self.population, self.steps = inner, inner.count, inner.population, inner.steps
        self.passes = 0

    def __iter__(self):
        self.passes += 1
        yield from self.inner


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_that_fit_are_built_once_and_those_that_do_not_at_each_call(cnn_case, rebatched, kind):
    problem, point = cnn_case
    data = Counted(rebatched(problem, 50).train)
    forwards = []
    handle = problem.module.register_forward_hook(lambda *_: forwards.append(1))
    vectors = vectors_for(2, problem.layout.total)
    results, runs = [], {}
    one = Curvature(problem, point, data, kind)
    one(vectors)
    each = one.held / 3
    for memory in (0, int(1.5 * each), 2**31):
        matrix = Curvature(problem, point, data, kind, memory=memory)
        forwards.clear()
        data.passes = 0
        results += [matrix(vectors) for _ in range(3)]
        runs[memory] = len(forwards), data.passes
        assert matrix.held <= memory
    handle.remove()
    assert list(runs.values()) == [(1 + 9, 3), (1 + 7, 3), (1 + 3, 1)]  # once more, to see how large a graph is
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], **EXACT)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_held_is_what_the_graphs_save(make, kind):
    torch.manual_seed(0)
    problem = make(smallcnn((1, 12, 12), 3), torch.randn(100, 1, 12, 12), torch.randint(0, 3, (100,)))
    point = point_of(problem)
    matrix = Curvature(problem, point, problem.train, kind)
    matrix(vectors_for(1, matrix.size))
    frozen = Frozen(problem, point)
    with measured(point.theta, frozen.block.parameters.values()) as found:
        graph = KINDS[kind](frozen, problem.train.x, problem.train.y)
    assert graph.count == 100
    assert matrix.held == pytest.approx(found.bytes, rel=0.02)
    assert matrix.held > 100 * 16 * 12 * 12 * 8  # the first layer's activations alone


@pytest.mark.parametrize("kind", KINDS)
def test_large_graphs_are_built_in_parts_that_change_nothing(cnn_case, monkeypatch, kind):
    problem, point = cnn_case
    vectors, sizes, seen = vectors_for(2, problem.layout.total), [], []
    whole = Curvature(problem, point, problem.train, kind)
    expected = whole(vectors)
    monkeypatch.setattr(curvatures, "AT_ONCE", whole.held / 3)
    handle = problem.module.register_forward_hook(lambda _, inputs, outputs: sizes.append(len(inputs[0])))
    matrices = [Curvature(problem, point, problem.train, kind, memory=m, tick=seen.append) for m in (0, 2**31)]
    for matrix in matrices:
        torch.testing.assert_close(matrix(vectors), expected, **EXACT)
        torch.testing.assert_close(matrix(vectors), expected, **EXACT)
        (batch,) = matrix.by_batch(vectors)
        assert batch.count == 130
        torch.testing.assert_close(batch.gradient, slope(problem, point), **EXACT)
    handle.remove()
    few, inside = sizes.pop(0), sizes[:3]
    assert few == 8
    assert inside == [44, 43, 43]
    assert sizes[9] == 130  # of the slope
    assert seen == pytest.approx(
        [float(problem.mean_loss(point.theta, point.buffers, problem.train.x, problem.train.y))] * 6
    )


@pytest.mark.parametrize("kind", KINDS)
def test_everything_goes_with_the_object_and_needs_no_collector(cnn_case, kind):
    """The examples stand for the graph that saves them: their tensor lends its memory from an array that is watched."""
    problem, point = cnn_case
    array = problem.train.x.numpy().copy()
    watched = weakref.ref(array)
    data = [(torch.from_numpy(array), problem.train.y)]

    class Once:
        count, population, steps = 130, 130, 1

        def __iter__(self):
            yield from data

    matrix = Curvature(problem, point, Once(), kind)
    gc.collect()
    gc.disable()
    try:
        matrix(vectors_for(1, matrix.size))
        data.clear()
        del array
        assert watched() is not None
        del matrix
        assert watched() is None
    finally:
        gc.enable()


def test_the_point_its_buffers_and_the_module_stay_as_they_are(cnn_case):
    problem, point = cnn_case
    before = {name: value.clone() for name, value in {"": point.theta, **point.buffers}.items()}
    parameters = {name: value.clone() for name, value in problem.module.named_parameters()}
    for kind in KINDS:
        Curvature(problem, point, problem.train, kind)(vectors_for(1, problem.layout.total))
    for name, value in {"": point.theta, **point.buffers}.items():
        assert torch.equal(value, before[name])
    for name, value in problem.module.named_parameters():
        assert torch.equal(value, parameters[name])
        assert value.grad is None


class Hard(nn.Module):
    """Has a non-linearity whose gradient PyTorch cannot differentiate."""

    def __init__(self, hard):
        super().__init__()
        self.inner, self.head, self.hard = nn.Linear(3, 4), nn.Linear(4, 3), hard

    def forward(self, x):
        return self.head(self.hard(self.inner(x)))


class Square(torch.autograd.Function):
    """Says of its gradient that it cannot be differentiated; torch.autograd.grad takes that for a derivative of 0."""

    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return 2 * context.saved_tensors[0] * gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("hard", "name"), [(nn.functional.hardsigmoid, "hardsigmoid"), (Square.apply, "a function marked @once")]
)
def test_a_gradient_that_cannot_be_differentiated_is_refused_by_name_but_there(make, kind, hard, name):
    torch.manual_seed(0)
    problem = make(Hard(hard), torch.randn(20, 3), torch.randint(0, 3, (20,)))
    point = point_of(problem)
    matrix = Curvature(problem, point, problem.train, kind)
    with pytest.raises(Refused, match=f"no second derivative of {name}") as caught:
        matrix(vectors_for(2, matrix.size))
    assert caught.value.hint.endswith("--what loss,gradient,distance")
    torch.testing.assert_close(matrix.gradient(), slope(problem, point), **EXACT)


class Inner(nn.Module):
    """Calls torch.func itself: the gradient of an energy."""

    def __init__(self):
        super().__init__()
        self.energy, self.head = nn.Linear(3, 4), nn.Linear(3, 3)

    def forward(self, x):
        return self.head(torch.func.grad(lambda z: self.energy(z).square().sum())(x))


def test_a_model_that_calls_torch_func_gets_its_products_though_no_graph_is_kept(make):
    torch.manual_seed(0)
    problem = make(Inner(), torch.randn(20, 3), torch.randint(0, 3, (20,)))
    point, vectors = point_of(problem), vectors_for(2, problem.layout.total)
    for kind in KINDS:
        found = Curvature(problem, point, problem.train, kind)(vectors)
        torch.testing.assert_close(found, vectors @ dense(problem, point, kind), **EXACT)


def test_parameters_that_the_loss_does_not_touch_have_no_curvature(make):
    torch.manual_seed(0)
    module = nn.Linear(3, 3)
    module.idle = nn.Parameter(torch.ones(2))
    problem = make(module, torch.randn(20, 3), torch.randint(0, 3, (20,)))
    idle = torch.tensor(
        [name == "idle" for name, size in zip(problem.layout.names, problem.layout.sizes) for _ in range(size)]
    )
    for kind in KINDS:
        matrix = Curvature(problem, point_of(problem), problem.train, kind)
        found = matrix(torch.eye(matrix.size, dtype=torch.float64))
        assert not found[idle].any()
        assert not found[:, idle].any()
        assert found[~idle].any()
        assert not Curvature(problem, point_of(problem), problem.train, kind, chosen=idle)(vectors_for(1, 2)).any()


@pytest.mark.parametrize("kind", KINDS)
def test_ticks_once_a_batch_with_its_loss(mlp_case, rebatched, kind):
    problem, point = mlp_case
    data, seen = rebatched(problem, 65).train, []
    matrix = Curvature(problem, point, data, kind, tick=seen.append)
    matrix(vectors_for(2, matrix.size))
    matrix(vectors_for(1, matrix.size))
    losses = [float(problem.mean_loss(point.theta, point.buffers, x, y)) for x, y in data]
    assert seen == pytest.approx(losses * 2)
    assert matrix.matvecs == 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("kind", KINDS)
def test_products_on_cuda_are_those_of_the_cpu(network, kind):
    problem, point = network
    vectors = vectors_for(2, problem.layout.total)
    expected = Curvature(problem, point, problem.train, kind)(vectors)
    there = replace(problem.train, x=problem.train.x.cuda(), y=problem.train.y.cuda())
    moved = replace(problem, module=problem.module.cuda(), train=there)
    at = Point(point.theta.cuda(), {name: value.cuda() for name, value in point.buffers.items()})
    matrix = Curvature(moved, at, there, kind)
    for _ in range(2):
        torch.testing.assert_close(matrix(vectors).cpu(), expected, **EXACT)
    assert matrix.held > 0


@pytest.mark.slow
def test_200_products_leave_resident_memory_as_it_is_after_the_first_ten():
    """Graphs kept, graphs built at each call, and objects made anew: 200 of each in one process."""
    torch.manual_seed(0)
    module = smallcnn((3, 16, 16), 10)
    data = smallest(torch.randn(32, 3, 16, 16), torch.arange(32) % 10)
    problem = Problem(module, Layout.of(module), cross_entropy, data, data)
    point = point_of(problem)
    vectors = vectors_for(1, problem.layout.total).float()
    lasting = [Curvature(problem, point, data, kind, memory=memory) for kind in KINDS for memory in (0, 2**31)]

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    for matrix in [*lasting, lambda v: Curvature(problem, point, data)(v)]:
        for turn in range(200):
            matrix(vectors)
            if turn == 10:
                base = resident()
        assert resident() < 1.05 * base
