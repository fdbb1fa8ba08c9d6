"""Measurements as xarray shows them: named dimensions, coordinates, units and standard errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rashomon_cli.core.errors import Refused

if TYPE_CHECKING:
    import xarray

    from rashomon_cli.core.results import Variable


def dataset(variables: Mapping[str, Variable]) -> xarray.Dataset:
    """Variables as one data set; one whose name is that of its dimension becomes a coordinate.

    Args:
        variables: by name.

    Returns:
        The data set, with ``units`` and ``long_name``, and ``<name>_stderr`` beside each estimate.

    Raises:
        Refused: if xarray is not installed.
    """
    try:
        import xarray
    except ImportError:
        hint = "pip install 'rashomon-cli[xarray]'"
        raise Refused("xarray is not installed; it comes with the extra 'xarray'", hint) from None
    arrays: dict[str, xarray.Variable] = {}
    for name, variable in variables.items():
        units = {"units": variable.units}
        arrays[name] = xarray.Variable(variable.dims, variable.values, units | {"long_name": variable.long_name})
        if variable.stderr is not None:
            words = f"standard error of {variable.long_name}"
            arrays[f"{name}_stderr"] = xarray.Variable(variable.dims, variable.stderr, units | {"long_name": words})
    coordinates = {name: array for name, array in arrays.items() if array.dims == (name,)}
    return xarray.Dataset({name: a for name, a in arrays.items() if name not in coordinates}, coordinates)
