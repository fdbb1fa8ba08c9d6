"""scikit-learn's 1,797 images of handwritten digits, 8 × 8: embedded, no network."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.arrays import Data
from rashomon_cli.sources.data import Source

_TEST_EVERY = 5


def source(spec: Spec, data_root: Path | None) -> Source:
    """The digits; every fifth image is a test image."""
    return Source(spec, hashlib.sha256(b"sklearn digits, every 5th for test").hexdigest(), _read)


def _read() -> Data:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[:, None]
    labels = bunch.target.astype(np.int64)
    test = np.arange(len(images)) % _TEST_EVERY == 0
    return Data(images[~test], labels[~test], images[test], labels[test])
