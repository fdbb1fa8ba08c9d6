"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): torchvision's files, or class folders of image files."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.arrays import Data
from rashomon_cli.sources.data import Source
from rashomon_cli.sources.datasets import folder, locate

_BATCHES = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}


def source(spec: Spec, data_root: Path | None) -> Source:
    """Torchvision's files under the data root; else class folders in ``cifar10/``; else a download.

    Raises:
        UsageError: if they are nowhere and cannot be downloaded.
    """
    root = locate.root(data_root)
    batches = root / _BATCHES[spec.target]
    classes = root / spec.target
    if not batches.is_dir() and (classes / "train").is_dir():
        return replace(folder.source(Spec(f"folder:{classes}")), spec=spec)
    if not batches.is_dir():
        from torchvision import datasets

        kind = datasets.CIFAR10 if spec.target == "cifar10" else datasets.CIFAR100
        locate.download(spec.target, root, lambda: kind(str(root), download=True))
    digest = hashlib.sha256(spec.target.encode() + b" torchvision").hexdigest()
    return Source(spec, digest, lambda: _read(spec.target, root), f"data-{digest[:32]}")


def _read(name: str, root: Path) -> Data:
    from torchvision import datasets

    kind = datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100
    arrays = []
    for train in (True, False):
        try:
            split = kind(str(root), train=train)
        except (RuntimeError, OSError, EOFError) as error:
            raise Refused(f"{root / _BATCHES[name]} is not complete: {error}", "download it again") from None
        arrays += [np.ascontiguousarray(split.data.transpose(0, 3, 1, 2)), np.asarray(split.targets, dtype=np.int64)]
    x_train, y_train, x_test, y_test = arrays
    return Data(x_train, y_train, x_test, y_test, augmentation="crop-flip")
