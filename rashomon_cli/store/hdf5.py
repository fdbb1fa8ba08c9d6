"""Results as HDF5: one group a measurement, named dimensions, units, long names and standard errors.

``xarray.open_dataset(path, group=..., engine="h5netcdf")`` opens every group with its coordinates.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from rashomon_cli.core.errors import Damaged
from rashomon_cli.core.results import Array, Result, Variable
from rashomon_cli.store import durable, seals

FORMAT_VERSION = 1
_ERROR = "_stderr"


def save_variables(path: Path, groups: Mapping[str, Mapping[str, Variable]]) -> None:
    """Write measurements durably.

    Args:
        path: the ``.h5`` file.
        groups: variables by group name.

    Raises:
        OSError: if the disk refuses.
    """

    def fill(beside: Path) -> None:
        with _written(beside) as file:
            file.attrs["format"] = "rashomon-metrics"
            file.attrs["version"] = FORMAT_VERSION
            for name, variables in sorted(groups.items()):
                _write_group(file.create_group(name), variables)

    durable.write(path, fill)


def load_variables(path: Path) -> dict[str, dict[str, Variable]]:
    """Read every measurement of a file.

    Args:
        path: a file whose SHA-256 was compared before, since a damaged HDF5 file can crash its reader.

    Returns:
        Variables by group.

    Raises:
        Damaged: if it is no metrics file, or of a newer version.
    """
    try:
        with h5py.File(path, "r") as file:
            _check(file, path, "rashomon-metrics")
            return {name: _read_group(group) for name, group in file.items()}
    except OSError as error:
        raise Damaged(f"{path.name} of run {path.parent.name} is no HDF5 file: {error}", "restore it") from None


def save_part(path: Path, result: Result) -> None:
    """Write one resumable step as a single HDF5 file with its SHA-256 behind, which HDF5 readers pass over.

    Raises:
        OSError: if the disk refuses.
    """

    def fill(beside: Path) -> None:
        with _written(beside) as file:
            file.attrs["format"] = "rashomon-part"
            file.attrs["version"] = FORMAT_VERSION
            file.attrs["metrics"] = json.dumps(dict(result.metrics))
            file.attrs["order"] = json.dumps(list(result.variables))
            _write_group(file.create_group("variables"), result.variables)
            tensors = file.create_group("tensors")
            for name, value in result.tensors.items():
                tensors.create_dataset(name.replace("/", "\\"), data=value)
        seals.append_digest(beside)

    durable.write(path, fill)


def load_part(path: Path) -> Result:
    """Read a step written by :func:`save_part`, once it was compared with the SHA-256 at its end.

    Raises:
        Damaged: if it cannot be read, or was altered.
        FileNotFoundError: if it does not exist.
    """
    seals.check_digest(path)
    try:
        with h5py.File(path, "r") as file:
            _check(file, path, "rashomon-part")
            tensors = {name.replace("\\", "/"): np.asarray(data[()]) for name, data in file["tensors"].items()}
            found, order = _read_group(file["variables"]), json.loads(file.attrs.get("order", "[]"))
            variables = {name: found[name] for name in [*order, *sorted(set(found) - set(order))]}
            return Result(variables, tensors, json.loads(file.attrs["metrics"]))
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise Damaged(f"the checkpoint {path} cannot be read: {error}") from None


@contextmanager
def _written(path: Path) -> Iterator[h5py.File]:
    """A file that is made in memory and written at once: HDF5 crashes the process where the disk refuses under it."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        yield file
    path.write_bytes(image.getbuffer())


def _check(file: h5py.File, path: Path, wanted: str) -> None:
    if file.attrs.get("format") != wanted:
        raise Damaged(f"{path.name} of {path.parent.name} is no {wanted} file")
    version = int(file.attrs.get("version", 0))
    if version > FORMAT_VERSION:
        hint = "upgrade rashomon-cli"
        raise Damaged(f"{path.name} has format {version}; this version reads up to {FORMAT_VERSION}", hint)


def _write_group(group: h5py.Group, variables: Mapping[str, Variable]) -> None:
    variables = dict(sorted(variables.items()))  # as they are read back: a resumed run writes the same bytes
    sizes: dict[str, int] = {}
    for name, variable in variables.items():
        for dim, size in zip(variable.dims, np.shape(variable.values), strict=True):
            if sizes.setdefault(dim, size) != size:
                raise ValueError(f"dimension {dim!r} of {name!r} has size {size}, elsewhere {sizes[dim]}")
    for name, variable in variables.items():
        _write_array(group, name, variable, variable.values)
        if variable.stderr is not None:
            error = Variable(variable.dims, variable.stderr, variable.units, f"standard error of {variable.long_name}")
            _write_array(group, name + _ERROR, error, variable.stderr)
    for dim, size in sizes.items():
        if dim not in group:
            _write_array(group, dim, Variable((dim,), np.arange(size), "1", f"index of {dim}"), np.arange(size))
            group[dim].attrs["index_only"] = True
        group[dim].make_scale(dim)
    for name, variable in variables.items():
        for suffix in ("", _ERROR):
            if name + suffix in group:
                for axis, dim in enumerate(variable.dims):
                    if name + suffix != dim:
                        group[name + suffix].dims[axis].attach_scale(group[dim])


def _write_array(group: h5py.Group, name: str, variable: Variable, values: Array) -> None:
    array = np.asarray(values)
    kind = h5py.string_dtype() if array.dtype.kind in "UO" else array.dtype
    data = group.create_dataset(name, data=array.astype(object) if array.dtype.kind == "U" else array, dtype=kind)
    data.attrs["units"] = variable.units
    data.attrs["long_name"] = variable.long_name
    data.attrs["dims"] = json.dumps(list(variable.dims))


def _read_group(group: h5py.Group) -> dict[str, Variable]:
    found: dict[str, Variable] = {}
    for name, data in group.items():
        error_of = name.removesuffix(_ERROR)
        if data.attrs.get("index_only", False) or (error_of != name and error_of in group):
            continue
        dims = tuple(json.loads(data.attrs["dims"]))
        values = data.asstr()[()] if h5py.check_string_dtype(data.dtype) else data[()]
        stderr = np.asarray(group[name + _ERROR][()]) if name + _ERROR in group else None
        array = np.asarray(values)
        found[name] = Variable(dims, array, str(data.attrs["units"]), str(data.attrs["long_name"]), stderr)
    return found
