"""``npz:PATH``: arrays ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.results import Array
from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.data import Data, Source

_NAMES = ("x_train", "y_train", "x_test", "y_test")
_CHANNELS = (1, 3, 4)


def source(spec: Spec) -> Source:
    """The file of a specification ``npz:PATH``.

    Raises:
        UsageError: if there is no such file, or the specification has arguments.
    """
    path = Path(spec.target.removeprefix("npz:"))
    if spec.arguments:
        raise UsageError(f"npz: takes no arguments, not {spec.arguments}", f"npz:{path}")
    if not path.is_file():
        raise UsageError(f"no file {path}", "npz:PATH needs a file made by numpy.savez")
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Source(spec, digest, lambda: _read(path))


def _read(path: Path) -> Data:
    try:
        # Opened here, since numpy leaves a file open that turns out to be none of its own.
        with path.open("rb") as stream, zipfile.ZipFile(stream), np.load(stream, allow_pickle=False) as file:
            missing = [name for name in _NAMES if name not in file.files]
            if missing:
                raise Refused(f"{path} has no array {missing[0]}", f"it needs {', '.join(_NAMES)}")
            x_train, y_train, x_test, y_test = (file[name] for name in _NAMES)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise Refused(f"{path} is no npz file of plain arrays: {error}", "make it with numpy.savez") from None
    return Data(_inputs(x_train), _targets(y_train), _inputs(x_test), _targets(y_test))


def _inputs(x: Array) -> Array:
    """Images to (N, channels, height, width); float inputs to float32; the rest as it is."""
    if x.dtype == np.uint8 and x.ndim == 3:
        return x[:, None]
    if x.dtype == np.uint8 and x.ndim == 4 and x.shape[1] not in _CHANNELS and x.shape[3] in _CHANNELS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return x.astype(np.float32) if x.dtype.kind == "f" else x


def _targets(y: Array) -> Array:
    if y.dtype.kind == "f":
        return y.astype(np.float32)
    return y.astype(np.int64) if y.dtype.kind in "iub" else y  # others are refused with all else that does not fit
