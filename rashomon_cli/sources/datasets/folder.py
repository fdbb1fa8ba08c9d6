"""``folder:PATH``: images in class folders under ``train/`` and ``test/``."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.results import Array
from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.arrays import Data
from rashomon_cli.sources.data import Source

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


def source(spec: Spec) -> Source:
    """The folder of a specification ``folder:PATH`` or ``folder:PATH(size=64)``.

    Raises:
        UsageError: if it has no ``train/`` and ``test/`` with the same class folders.
    """
    root = Path(spec.target.removeprefix("folder:"))
    size = spec.arguments.get("size")
    if set(spec.arguments) - {"size"} or not (size is None or (isinstance(size, int) and size > 0)):
        raise UsageError(f"folder: takes size=PIXELS only, not {spec.arguments}", f"folder:{root}(size=32)")
    files = {split: _list(root / split) for split in ("train", "test")}
    classes = {split: sorted({path.parent.name for path in paths}) for split, paths in files.items()}
    if not files["train"] or not files["test"]:
        lacking = "train" if not files["train"] else "test"
        raise UsageError(f"no images in {root / lacking}/CLASS/", "lay them out as PATH/train/CLASS/*.png")
    if classes["train"] != classes["test"]:
        odd = sorted(set(classes["train"]) ^ set(classes["test"]))[0]
        raise UsageError(
            f"the class {odd!r} of {root} is in only one of train/ and test/", "give both the same classes"
        )
    # A run is told by names and sizes, since to read all files takes long; what is cached must be of these very files.
    digest = hashlib.sha256(f"size={size}".encode())
    times = hashlib.sha256()
    for split, paths in files.items():
        for path in paths:
            status = path.stat()
            digest.update(f"{split} {path.relative_to(root)} {status.st_size}\n".encode())
            times.update(status.st_mtime_ns.to_bytes(16, signed=True))
    key = f"data-{digest.hexdigest()[:32]}-{times.hexdigest()[:16]}"
    return Source(spec, digest.hexdigest(), lambda: _read(files, classes["train"], size), key)


def _list(folder: Path) -> list[Path]:
    found = [Path(where) / name for where, _, names in os.walk(folder) for name in names]
    return sorted(p for p in found if p.suffix.lower() in _SUFFIXES and p.parent.parent == folder)


def _read(files: dict[str, list[Path]], classes: list[str], size: int | None) -> Data:
    numbers = {name: number for number, name in enumerate(classes)}
    first = _decode(files["train"][0], size, None)
    arrays: list[Array] = []
    for split in ("train", "test"):
        images = np.empty((len(files[split]), *first.shape), dtype=np.uint8)
        for row, path in enumerate(files[split]):
            image = _decode(path, size, first.shape[2])
            if image.shape != first.shape:
                hint = f"folder:{files['train'][0].parents[2]}(size=32) makes them equal"
                raise Refused(f"{path} is {image.shape[1]} × {image.shape[0]}, others are different", hint)
            images[row] = image
        labels = np.array([numbers[path.parent.name] for path in files[split]], dtype=np.int64)
        arrays += [np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels]
    suffixes = {path.suffix.lower() for path in files["train"]}
    encoding = "JPEG" if suffixes <= {".jpg", ".jpeg"} else ""
    x_train, y_train, x_test, y_test = arrays
    return Data(
        x_train, y_train, x_test, y_test, augmentation="crop-flip" if first.shape[2] == 3 else "none", encoding=encoding
    )


def _decode(path: Path, size: int | None, channels: int | None) -> Array:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            grey = channels == 1 or (channels is None and image.mode in ("1", "L", "I;16"))
            converted = image.convert("L" if grey else "RGB")
            if size is not None:
                converted = ImageOps.fit(converted, (size, size), Image.Resampling.BILINEAR)
            array = np.asarray(converted, dtype=np.uint8)
            return array[:, :, None] if grey else array
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise Refused(f"{path} cannot be decoded: {error}", "remove or replace the file") from None
