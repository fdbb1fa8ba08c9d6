"""The density in blocks of probes: the same as in one, whatever a block needs to know comes from the first."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.core.errors import Refused
from rashomon_cli.science.problem import Point
from rashomon_cli.science.spectral_density import joined, one_block
from rashomon_cli.science.spectrum import Asked

VALUES = np.array([9.0, -6.0, 4.0, -2.0, 1.0, *[0.01] * 7])


@pytest.fixture
def measured(function_problem):
    """measured(**options): one block of the density of ½ θᵀAθ, A with eigenvalues VALUES."""
    chance = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=chance, dtype=torch.float64))[0]
    matrix = basis @ torch.diag(torch.from_numpy(VALUES)) @ basis.T
    problem = function_problem(lambda theta: 0.5 * (theta @ matrix * theta).sum(-1), 12)
    point = Point(torch.zeros(12, dtype=torch.float64), {})
    return lambda **options: one_block(problem, point, asked=Asked(problem.train), probes=5, steps=12, **options)


def in_blocks(measured, block, **options):
    blocks = [measured(block=block, **options)]
    blocks += [measured(block=block, index=k, first=blocks[0], **options) for k in range(1, -(-5 // block))]
    return blocks, joined(blocks).variables


@pytest.mark.parametrize("deflate", [0, 2])
def test_blocks_say_what_one_block_says_with_no_product_more(measured, deflate):
    (_, one), (blocks, several) = (in_blocks(measured, block, deflate=deflate) for block in (5, 2))
    assert [len(each.variables["density_alpha"].values) for each in blocks] == [2, 2, 1]
    assert one.keys() == several.keys()
    for name, variable in one.items():
        assert several[name].dims == variable.dims
        np.testing.assert_allclose(several[name].values, variable.values, rtol=1e-9, atol=1e-12, err_msg=name)
    assert not any(each.tensors for each in blocks[1:])
    assert list(blocks[0].tensors) == (["rows", "inside", "outside"] if deflate else [])


def test_with_the_steepest_known_the_whole_is_that_of_the_matrix(measured):
    found = in_blocks(measured, 2, deflate=5)[1]
    ends = [float(found[f"spectrum_{end}"].values) for end in ("min", "max")]
    assert ends == pytest.approx([-6, 9], rel=1e-9)
    # What is left has one eigenvalue only, of which every probe has the exact mean.
    assert float(found["spectrum_mean"].values) == pytest.approx(VALUES.mean(), rel=1e-9)
    assert float(found["spectrum_mean_square"].values) == pytest.approx((VALUES**2).mean(), rel=1e-9)
    assert float(found["negative_mass"].values) == pytest.approx(2 / 12)


def test_a_matrix_that_is_not_finite_is_refused(function_problem):
    problem = function_problem(lambda theta: theta.square().sum(-1) * float("nan"), 3)
    with pytest.raises(Refused, match="not finite"):
        one_block(problem, Point(torch.zeros(3, dtype=torch.float64), {}), asked=Asked(problem.train))
