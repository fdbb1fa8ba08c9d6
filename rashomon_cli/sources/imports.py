"""Objects of the user's own code: ``package.module:name`` or ``path/to/file.py:name``, with its fingerprint."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from rashomon_cli.core.errors import UsageError


def is_import(target: str) -> bool:
    """Whether a target names user code, rather than something built in."""
    return ":" in target and not target.startswith(("folder:", "npz:", "torchvision:", "timm:"))


def source_file(target: str) -> Path | None:
    """The file that a target is defined in, found without running it.

    Args:
        target: ``package.module:name`` or ``file.py:name``.

    Returns:
        The file, or None for a module without one.

    Raises:
        UsageError: if there is no such file or module.
    """
    module = target.rpartition(":")[0]
    if module.endswith(".py"):
        path = Path(module)
        if not path.is_file():
            raise UsageError(f"no file {module}", "give the path of a Python file, as in models/mine.py:factory")
        return path
    _see_working_folder()
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise UsageError(f"no module {module!r} can be imported", "install it, or name a file: path/to/file.py:factory")
    return Path(found.origin) if found.origin and Path(found.origin).is_file() else None


def fingerprint(target: str) -> str | None:
    """SHA-256 of the source file of a target, or None where it has no file.

    Raises:
        UsageError: as :func:`source_file`.
    """
    path = source_file(target)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else None


def changed(target: str, then: str | None, now: str | None) -> str:
    """The warning that what a user named is no longer what it was."""
    was, found = ((digest or "no file")[:12] for digest in (then, now))
    return f"{target} changed since the run was made: {was} then, {found} now"


def load(target: str) -> Any:
    """Import the object that a target names.

    Raises:
        UsageError: if the module cannot be imported or has no such name.
        KeyboardInterrupt: if the user interrupts the import.
    """
    module_name, _, name = target.rpartition(":")
    path = source_file(target)
    try:
        if module_name.endswith(".py") and path is not None:
            digest = hashlib.sha256(str(path.resolve()).encode() + path.read_bytes()).hexdigest()[:12]
            internal = f"_rashomon_user_{path.stem}_{digest}"
            if internal in sys.modules:
                module = sys.modules[internal]
            else:
                spec = importlib.util.spec_from_file_location(internal, path)
                if spec is None or spec.loader is None:
                    raise UsageError(f"{module_name} cannot be imported")
                module = importlib.util.module_from_spec(spec)
                sys.modules[internal] = module
                try:
                    spec.loader.exec_module(module)
                except BaseException:
                    del sys.modules[internal]
                    raise
        else:
            module = importlib.import_module(module_name)
    except (UsageError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise UsageError(f"importing {module_name} failed: {type(error).__name__}: {error}", "see --debug") from error
    if not hasattr(module, name):
        raise UsageError(f"{module_name} has no {name!r}", f"name a function of it: {module_name}:FUNCTION")
    return getattr(module, name)


def _see_working_folder() -> None:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
