"""MNIST and Fashion-MNIST from idx files (LeCun et al. 1998; Xiao et al. 2017), gzipped or not, in any usual folder."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array
from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.arrays import Data
from rashomon_cli.sources.data import Source
from rashomon_cli.sources.datasets import locate

_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_FOLDERS = {
    "mnist": ("mnist", "MNIST/raw", "MNIST", "."),
    "fashion-mnist": ("fashion-mnist", "FashionMNIST/raw", "fashion_mnist"),
}


def source(spec: Spec, data_root: Path | None) -> Source:
    """The idx files of the data set that the specification names, downloaded where there are none.

    Raises:
        UsageError: if they are nowhere and cannot be downloaded.
    """
    files = _find(spec.target, locate.root(data_root))
    if files is None:
        _download(spec.target, locate.root(data_root))
        files = _find(spec.target, locate.root(data_root))
        assert files is not None
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    found = files
    return Source(spec, digest.hexdigest(), lambda: _read(found))


def _find(name: str, root: Path) -> list[Path] | None:
    for folder in _FOLDERS[name]:
        paths = [next((p for p in (root / folder / f, root / folder / f"{f}.gz") if p.is_file()), None) for f in _FILES]
        if all(paths):
            return [path for path in paths if path is not None]
    return None


def _download(name: str, root: Path) -> None:
    from torchvision import datasets

    kind = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
    locate.download(name, root, lambda: kind(str(root), download=True))


def read_idx(path: Path) -> Array:
    """Read an idx file of unsigned bytes.

    Args:
        path: the file, gzipped where its name ends in ``.gz``.

    Returns:
        An array of uint8.

    Raises:
        Refused: if it is no idx file or shorter than its header says.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise Refused(f"{path} cannot be unpacked: {error}", "download it again") from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise Refused(f"{path} is no idx file of bytes", "download it again")
    axes = content[3]
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", axes, 4)) if len(content) >= 4 + 4 * axes else ()
    body = np.frombuffer(content, np.uint8, offset=min(4 + 4 * axes, len(content)))
    if not shape or body.size != int(np.prod(shape)):
        raise Refused(f"{path} is truncated: {body.size} bytes for shape {shape}", "download it again")
    return body.reshape(shape).copy()


def _read(files: list[Path]) -> Data:
    x_train, y_train, x_test, y_test = (read_idx(path) for path in files)
    return Data(x_train[:, None], y_train.astype(np.int64), x_test[:, None], y_test.astype(np.int64))
