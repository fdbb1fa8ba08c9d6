"""``npz:PATH``: arrays ``x_train``, ``y_train``, ``x_test``, ``y_test``."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.specs import Spec
from rashomon_cli.sources.arrays import NAMES, Data
from rashomon_cli.sources.data import Source


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
            missing = [name for name in NAMES if name not in file.files]
            if missing:
                raise Refused(f"{path} has no array {missing[0]}", f"it needs {', '.join(NAMES)}")
            x_train, y_train, x_test, y_test = (file[name] for name in NAMES)
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise Refused(f"{path} is no npz file of plain arrays: {error}", "make it with numpy.savez") from None
    return Data(x_train, y_train, x_test, y_test)
