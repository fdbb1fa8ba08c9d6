"""Objects of the user's own code: ``package.module:name`` or ``path/to/file.py:name``, with its fingerprint."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from rashomon_cli.core.errors import UsageError

_imported: dict[str, str | None] = {}
"""Digests of the source files of imported modules, when they were imported: Python runs that code until it ends."""


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
        UsageError: if there is no such file or module, or a package around it cannot be imported.
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
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise UsageError(*_failed(module, error)) from error
        found = None
    except (Exception, SystemExit) as error:  # of the packages around it, which are run to find it
        raise UsageError(*_failed(module, error)) from error
    if found is None:
        raise UsageError(f"no module {module!r} can be imported", "install it, or name a file: path/to/file.py:factory")
    return Path(found.origin) if found.origin and Path(found.origin).is_file() else None


def fingerprint(target: str) -> str | None:
    """SHA-256 of the source file of a target, or None where it has no file.

    Raises:
        UsageError: as :func:`source_file`.
    """
    return _digest(source_file(target))


def changed(target: str, then: str | None, now: str | None) -> str:
    """The warning that what a user named is no longer what it was."""
    was, found = ((digest or "no file")[:12] for digest in (then, now))
    return f"{target} changed since the run was made: {was} then, {found} now"


def load(target: str) -> Any:
    """Import the object that a target names.

    Raises:
        UsageError: if the module cannot be imported, has no such name, or changed after it was imported.
    """
    module_name, _, name = target.rpartition(":")
    path = source_file(target)
    try:
        if path is not None and module_name.endswith(".py"):
            module = _run(path)
        else:
            module = importlib.import_module(module_name)
            _check_unchanged(module_name, path)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(*_failed(module_name, error)) from error
    if not hasattr(module, name):
        raise UsageError(f"{module_name} has no {name!r}", f"name a function of it: {module_name}:FUNCTION")
    return getattr(module, name)


def _run(path: Path) -> ModuleType:
    """The module of a file, run once for each content that it has."""
    content = path.read_bytes()
    digest = hashlib.sha256(str(path.resolve()).encode() + content).hexdigest()[:12]
    internal = f"_rashomon_user_{path.stem}_{digest}"
    if internal in sys.modules:
        return sys.modules[internal]
    spec = importlib.util.spec_from_file_location(internal, path)
    assert spec is not None  # of a name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[internal] = module
    try:
        # Not through the loader, whose cache takes a file of the same size and second for the same.
        exec(compile(content, str(path), "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        del sys.modules[internal]
        raise
    return module


def _digest(path: Path | None) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path else None


def _check_unchanged(module: str, path: Path | None) -> None:
    """Refuse a module whose file is no longer the one that Python runs.

    Raises:
        UsageError: if it changed after it was imported.
    """
    digest = _digest(path)
    if _imported.setdefault(module, digest) != digest:
        raise UsageError(
            f"{path} changed after it was imported, and Python still runs the code from before",
            f"restart Python, or name the file instead: {path}:FUNCTION",
        )


def _failed(module: str, error: BaseException) -> tuple[str, str]:
    """What is told of a module that cannot be imported, and the hint."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return f"importing {module} failed: {reason}", "see --debug"


def _see_working_folder() -> None:
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
