import math

import pytest
import torch

from rashomon_cli.science.spectra.subspaces import overlap, share, turning, without


def test_planes_that_share_a_line_and_lean_by_30_degrees():
    flat = torch.eye(4, dtype=torch.float64)[:2]
    leaning = torch.tensor([[1.0, 0, 0, 0], [0, math.sqrt(0.75), 0.5, 0]], dtype=torch.float64)
    assert overlap(flat, 3 * leaning) == pytest.approx((1 + 0.75) / 2)
    assert overlap(leaning, flat) == pytest.approx((1 + 0.75) / 2)


def test_nested_subspaces_overlap_wholly_and_orthogonal_ones_not_at_all():
    rows = torch.randn(5, 12, generator=torch.Generator().manual_seed(0))
    mixed = torch.tensor([[1.0, 2, 0, 0, 0], [0, 1, -1, 0, 3]]) @ rows
    assert overlap(rows, mixed) == pytest.approx(1.0)
    assert overlap(torch.eye(6)[:2], torch.eye(6)[2:5]) == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(overlap(rows, rows[:0]))


def test_random_subspaces_overlap_by_the_larger_share_of_the_space():
    rng = torch.Generator().manual_seed(1)
    found = [overlap(torch.randn(3, 30, generator=rng), torch.randn(6, 30, generator=rng)) for _ in range(100)]
    # the share of a random unit vector in 6 of 30 dimensions is Beta(3, 12); 3 × 100 of them, nearly independent
    assert sum(found) / 100 == pytest.approx(6 / 30, abs=4 * math.sqrt(3 * 12 / 15**2 / 16 / 300))


def test_a_line_that_turns_by_30_degrees_a_step():
    lines = [torch.tensor([[math.cos(a), math.sin(a)]], dtype=torch.float64) for a in (0, math.pi / 6, math.pi / 3)]
    found = turning(lines).variables
    assert found["top_overlap_start"].values == pytest.approx([1, 0.75, 0.25])
    assert found["top_overlap_next"].values == pytest.approx([0.75, 0.75])


def test_the_share_of_a_vector_in_a_subspace():
    rows = torch.tensor([[1.0, 0, 0], [1.0, 1.0, 0], [2.0, 1.0, 0]], dtype=torch.float64)
    vector = torch.tensor([2.0, 1.0, 2.0], dtype=torch.float64)
    assert share(vector, rows) == pytest.approx(5 / 9)
    assert share(vector, rows[:0]) == 0.0
    assert math.isnan(share(0 * vector, rows))
    assert float((without(vector[None], rows) - torch.tensor([0, 0, 1.0])).abs().max()) < 1e-12


def test_parts_in_a_span_are_removed_however_it_is_given():
    rng = torch.Generator().manual_seed(1)
    removed = torch.randn(3, 8, generator=rng, dtype=torch.float64)
    twice = torch.cat([removed, removed[:1] + removed[1:2]])
    vectors = torch.randn(4, 8, generator=rng, dtype=torch.float64)
    found = without(vectors, twice)
    assert found.norm(dim=1).tolist() == pytest.approx([1.0] * 4)
    assert float((found @ removed.T).abs().max()) < 1e-12
    assert float((found - without(vectors, removed)).abs().max()) < 1e-12
    assert not without(removed, twice).any()
    assert torch.equal(without(vectors, removed[:0]), vectors)
