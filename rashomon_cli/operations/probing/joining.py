"""What several quantities found, as one group of variables: equal names are told apart, products are summed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from rashomon_cli.core.results import Array, Variable

_SUMMED = frozenset({"matvecs"})
_SAME = 1e-6
Coordinates = tuple[int, Variable | None]


def together(found: Mapping[str, Mapping[str, Variable]]) -> dict[str, Variable]:
    """Join what each quantity found.

    Where a later quantity has a variable of the same name with other values, or a dimension of the same name with
    another length or other coordinates, its own is called ``<quantity>_<name>``, or ``<quantity>_<name>_index`` where
    there is one already. Products are summed.

    Args:
        found: variables by quantity, in the order in which names are given away.

    Returns:
        All of them.
    """
    joined: dict[str, Variable] = {}
    dims: dict[str, Coordinates] = {}
    for quantity, variables in found.items():
        own = _dimensions(variables)
        clashing = [dim for dim, there in own.items() if dim in dims and not _alike(dims[dim], there)]
        renamed = {dim: _free(f"{quantity}_{dim}", {*variables, *joined}) for dim in clashing}
        for name, variable in variables.items():
            moved = replace(variable, dims=tuple(renamed.get(dim, dim) for dim in variable.dims))
            name, before = renamed.get(name, name), joined.get(renamed.get(name, name))
            if before is not None and name in _SUMMED and before.dims == moved.dims:
                joined[name] = replace(before, values=before.values + moved.values)
            elif before is None or _same(before, moved):
                joined[name] = moved
            else:
                joined[_free(f"{quantity}_{name}", {*variables, *joined})] = moved
        dims |= {renamed.get(dim, dim): there for dim, there in own.items()}
    return joined


def _dimensions(variables: Mapping[str, Variable]) -> dict[str, Coordinates]:
    """Length of each dimension, and its coordinates if it has some."""
    return {
        dim: (size, variables.get(dim))
        for variable in variables.values()
        for dim, size in zip(variable.dims, np.shape(variable.values), strict=True)
    }


def _free(name: str, taken: Collection[str]) -> str:
    """A name that no variable has: in a file a dimension is one, too."""
    while name in taken:
        name += "_index"
    return name


def _alike(one: Coordinates, other: Coordinates) -> bool:
    """Whether two dimensions of one name are the same."""
    (size, at), (other_size, other_at) = one, other
    if at is None or other_at is None:
        return size == other_size and at is other_at
    return _equal(at.values, other_at.values)


def _same(one: Variable, other: Variable) -> bool:
    """Whether two variables of one name say the same, but for rounding."""
    errors = [each.stderr if each.stderr is not None else np.asarray(0.0) for each in (one, other)]
    return one.dims == other.dims and _equal(one.values, other.values) and _equal(*errors)


def _equal(one: Array, other: Array) -> bool:
    if np.shape(one) != np.shape(other):
        return False
    if {np.asarray(one).dtype.kind, np.asarray(other).dtype.kind} <= set("biuf"):
        return bool(np.allclose(one, other, rtol=_SAME, atol=0, equal_nan=True))
    return np.array_equal(one, other)
