"""Measurements as ``xarray`` datasets; the package is an extra."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rashomon_cli.core.errors import Refused, UsageError
from rashomon_cli.core.results import Variable

if TYPE_CHECKING:
    import xarray


def dataset(measurements: Mapping[str, Mapping[str, Variable]], group: str | None, name: str) -> xarray.Dataset:
    """One group of measurements.

    Args:
        measurements: variables by group.
        group: which; the only one where None.
        name: of the run, for errors.

    Returns:
        A dataset; a variable of its own dimension's name is a coordinate.

    Raises:
        UsageError: if there is no such group, or there are several and none was named.
        Refused: if xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        raise Refused("datasets need the package xarray", "pip install 'rashomon-cli[xarray]'") from None
    if group is None and len(measurements) == 1:
        (group,) = measurements
    if group is None or group not in measurements:
        listed = ", ".join(measurements)
        raise UsageError(
            f"run {name} has the measurements {listed}; {group or 'none'} was named", f"name one of {listed}"
        )
    arrays: dict[str, xarray.Variable] = {}
    for label, variable in measurements[group].items():
        about = {"units": variable.units, "long_name": variable.long_name}
        arrays[label] = xarray.Variable(variable.dims, variable.values, about)
        if variable.stderr is not None:
            about = {"units": variable.units, "long_name": f"standard error of {variable.long_name}"}
            arrays[f"{label}_stderr"] = xarray.Variable(variable.dims, variable.stderr, about)
    coordinates = {label: array for label, array in arrays.items() if array.dims == (label,)}
    return xarray.Dataset({n: a for n, a in arrays.items() if n not in coordinates}, coordinates, {"run": name})
