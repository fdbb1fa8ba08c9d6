from __future__ import annotations

import pytest
import torch

from rashomon_cli.science.twice import once_only


class Square(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        context.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient):
        return 2 * context.saved_tensors[0] * gradient


@pytest.mark.parametrize(("function", "expected"), [(Square.apply, True), (torch.square, False)])
def test_an_operation_that_is_differentiable_once_is_found(function, expected):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(function(torch.sin(x)).square().sum(), x, create_graph=True)
    assert once_only([gradient]) is expected
    # What would be believed otherwise: the derivative of 4 sin³ cos with sin held fixed where it was marked.
    (second,) = torch.autograd.grad(gradient.sum(), x)
    sine, cosine = torch.sin(x.detach()), torch.cos(x.detach())
    exact = 12 * sine**2 * cosine**2 - 4 * sine**4
    assert torch.allclose(second, exact) is not expected


def test_a_gradient_without_a_graph_is_no_fault():
    assert not once_only([torch.ones(2)])
