"""What several figures of curvature are drawn from: a point's variables, at several positions or layers."""

import numpy as np
import pytest

from rashomon_cli.core.results import Result, series, stack


@pytest.fixture
def along():
    """Make a path's group out of a function that gives a point's group at t."""

    def stacked(point, dim="t", at=(0.0, 0.25, 0.5, 0.75, 1.0)):
        found = stack([Result(point(value)) for value in at], dim)
        names = np.array([f"layer{value}.weight" for value in at])
        where = series("t", at, "1", "position on the path, t") if dim == "t" else series(dim, names, "1", dim)
        return found | {dim: where}

    return stacked
