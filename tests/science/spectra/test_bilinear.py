"""Second derivatives by the kernels of the first ones, against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from rashomon_cli.science.spectra.bilinear import Bilinear

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def second(function, inputs, steps):
    """Gradient of ``⟨∇f, steps⟩`` in the inputs, f the sum of tanh of the function."""
    loss = torch.tanh(function(*inputs)).sum()
    first = torch.autograd.grad(loss, inputs, create_graph=True)
    return torch.autograd.grad(first, inputs, steps)


def both(function, shapes, seed):
    """Second derivatives within and without, in float64."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(s, dtype=torch.float64, generator=generator) for s in [*shapes, *shapes]]
    inputs, steps = [d.requires_grad_() for d in drawn[: len(shapes)]], drawn[len(shapes) :]
    with Bilinear():
        found = second(function, inputs, steps)
    return found, second(function, inputs, steps)


@settings(max_examples=25)
@given(
    dimensions=st.integers(1, 3),
    stride=st.integers(1, 2),
    padding=st.sampled_from([0, 1, (1,), "same"]),
    dilation=st.integers(1, 2),
    groups=st.integers(1, 2),
    biased=st.booleans(),
    seed=st.integers(0, 9),
)
def test_convolutions(dimensions, stride, padding, dilation, groups, biased, seed):
    if padding == "same":
        stride = 1
    shapes = [(3, 2 * groups, *[6] * dimensions), (groups * 2, 2, *[3] * dimensions)] + [(2 * groups,)] * biased

    def function(x, w, b=None):
        return CONVOLUTIONS[dimensions](x, w, b, stride, padding, dilation, groups)

    for found, expected in zip(*both(function, shapes, seed), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@settings(max_examples=15)
@given(dimensions=st.integers(0, 3), scaled=st.booleans(), seed=st.integers(0, 9))
def test_frozen_batchnorm(dimensions, scaled, seed):
    mean, variance = torch.tensor([0.5, -1.0]).double(), torch.tensor([0.3, 2.0]).double()
    shapes = [(4, 2, *[3] * dimensions)] + [(2,), (2,)] * scaled

    def function(x, w=None, b=None):
        return F.batch_norm(x, mean, variance, w, b, training=False, eps=1e-3)

    found, expected = both(function, shapes, seed)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_what_is_not_covered_runs_as_ever():
    x, w = torch.randn(2, 3, 5, 5), torch.randn(4, 3, 3, 3)
    with Bilinear():
        torch.testing.assert_close(F.conv2d(x[0], w), F.conv2d(x[:1], w)[0])  # an example without its batch
        assert F.conv2d(x.bfloat16(), w.bfloat16()).dtype == torch.bfloat16
        assert F.batch_norm(x, None, None, training=True).mean() == pytest.approx(0, abs=1e-6)
        assert not F.conv2d(x, w).requires_grad


def test_some_inputs_may_be_constants():
    x, w, b = torch.randn(2, 3, 5, 5).double(), torch.randn(4, 3, 3, 3).double(), torch.randn(4).double()
    for free in ((x,), (w,), (b,), (x, w), (w, b)):
        for tensor in (x, w, b):
            tensor.requires_grad_(any(tensor is one for one in free))
        steps = [torch.ones_like(one) for one in free]

        def derivative(free=free, steps=steps):
            first = torch.autograd.grad(torch.tanh(F.conv2d(x, w, b)).sum(), free, create_graph=True)
            return torch.autograd.grad(first, free, steps)

        with Bilinear():
            found = derivative()
        for one, other in zip(found, derivative(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_transposed_jacobian_is_differentiated_along_cotangents_alone():
    """``J v`` twice: with the derivatives in x and w as well, and without them; what is left out is not computed."""
    x, w = torch.randn(2, 3, 5, 5, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    mode, v = Bilinear(), torch.randn(4, 3, 3, 3)
    with mode:
        y = F.conv2d(x, w)
        u = torch.zeros_like(y, requires_grad=True)
        (pulled,) = torch.autograd.grad(y, w, u, create_graph=True)
        (whole,) = torch.autograd.grad(pulled, u, v, retain_graph=True)
        with mode.only_cotangents():
            alone, none = torch.autograd.grad(pulled, (u, x), v, retain_graph=True, allow_unused=True)
    torch.testing.assert_close(whole, F.conv2d(x, v).detach())
    torch.testing.assert_close(alone, whole)
    assert none is None


def test_models_that_map_over_examples_keep_working():
    """``torch.func`` within a model that runs in here."""
    x, w = torch.randn(3, 2, 5, 5), torch.randn(4, 2, 3, 3)

    def each(image):
        return torch.func.grad(lambda weight: F.conv2d(image[None], weight).square().sum())(w)

    expected = torch.stack([each(image) for image in x])
    with Bilinear():
        torch.testing.assert_close(torch.func.vmap(each)(x), expected, rtol=1e-4, atol=1e-4)
