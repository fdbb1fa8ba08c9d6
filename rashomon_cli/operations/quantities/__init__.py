"""What ``probe`` can measure: one small file each, listed here and nowhere else."""

from rashomon_cli.operations.quantities import (
    density,
    dimension,
    distance,
    ensemble,
    flat,
    gradient,
    hvp,
    llc,
    loss,
    machinery,
    reach,
    top,
    trace,
    width,
)
from rashomon_cli.operations.quantities.quantity import Gathering, Quantity, Sizes

QUANTITIES: tuple[Quantity, ...] = (
    loss.QUANTITY,
    gradient.QUANTITY,
    hvp.QUANTITY,
    distance.QUANTITY,
    ensemble.QUANTITY,
    width.QUANTITY,
    machinery.QUANTITY,
    top.QUANTITY,
    trace.QUANTITY,
    density.QUANTITY,
    dimension.QUANTITY,
    reach.QUANTITY,
    flat.QUANTITY,
    llc.QUANTITY,
)

__all__ = ["QUANTITIES", "Gathering", "Quantity", "Sizes"]
