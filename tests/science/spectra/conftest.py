"""Matrices with a spectrum that is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rashomon_cli.science.spectra.matrices import Dense


def with_spectrum(values, seed=0, dtype=torch.float64):
    values = torch.as_tensor(np.asarray(values), dtype=torch.float64)
    rng = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=rng, dtype=torch.float64))
    return Dense(((basis * values) @ basis.T).to(dtype)), basis.T


@pytest.fixture
def symmetric():
    """symmetric(values, seed, dtype): a matrix with these eigenvalues, and its eigenvectors as rows."""
    return with_spectrum
