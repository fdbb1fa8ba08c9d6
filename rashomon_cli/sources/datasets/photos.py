"""Patches of scikit-learn's two sample photographs, 32 × 32 in colour, embedded; the class is the photograph."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.arrays import Data
from rashomon_cli.sources.data import Source

SIZE = 32
STRIDE = 16
_TRAIN_SHARE = 0.75


def source(spec: Spec, data_root: Path | None) -> Source:
    """The patches; those of the right quarter of each photograph are the test patches, none overlaps the others."""
    return Source(spec, hashlib.sha256(f"sklearn photos, {SIZE} by {STRIDE}".encode()).hexdigest(), _read)


def _read() -> Data:
    from sklearn.datasets import load_sample_images

    parts: dict[str, list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]] = {"train": [], "test": []}
    labels: dict[str, list[int]] = {"train": [], "test": []}
    for number, image in enumerate(load_sample_images().images):
        border = int(image.shape[1] * _TRAIN_SHARE)
        for top in range(0, image.shape[0] - SIZE + 1, STRIDE):
            for left in range(0, image.shape[1] - SIZE + 1, STRIDE):
                split = "train" if left + SIZE <= border else "test" if left >= border else None
                if split:
                    parts[split].append(image[top : top + SIZE, left : left + SIZE].transpose(2, 0, 1))
                    labels[split].append(number)
    train, test = (np.ascontiguousarray(np.stack(parts[s]), dtype=np.uint8) for s in ("train", "test"))
    return Data(train, np.array(labels["train"]), test, np.array(labels["test"]), augmentation="crop-flip")
