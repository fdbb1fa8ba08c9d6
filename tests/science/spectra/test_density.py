from __future__ import annotations

import numpy as np
import pytest

from rashomon_cli.science.spectra.deflation import Complement
from rashomon_cli.science.spectra.density import Density
from rashomon_cli.science.spectra.slq import density

VALUES = np.concatenate([np.zeros(60), np.linspace(-0.5, 3.0, 36), [10.0, 12.0, 15.0, 40.0]])


@pytest.mark.parametrize("room", [0, 7])
def test_what_is_stored_is_the_same_density(symmetric, room):
    matrix, vectors = symmetric(VALUES)
    first = density(Complement(matrix, vectors[-4:], vectors[:2]), 3, 25, seed=2**62 + 1)
    found = Density.of(first.variables(known=room))
    assert (found.dimension, found.size, found.seed, found.border.symmetry) == (94, 100, 2**62 + 1, 2)
    for name in ("alpha", "beta", "nodes", "weights"):
        assert np.array_equal(getattr(found, name), getattr(first, name), equal_nan=True)
    assert np.array_equal(found.border.inside, first.border.inside)
    assert np.array_equal(found.border.outside, first.border.outside)
    assert first.variables(room)["density_known"].values.shape == ((room or 6,) * 2)
