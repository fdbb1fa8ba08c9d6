"""What ``probe`` can measure: one small file each, listed here and nowhere else."""

from rashomon_cli.operations.quantities import distance, ensemble, gradient, hvp, loss, machinery, width
from rashomon_cli.operations.quantities.quantity import Gathering, Quantity, Sizes

QUANTITIES: tuple[Quantity, ...] = (
    loss.QUANTITY,
    gradient.QUANTITY,
    hvp.QUANTITY,
    distance.QUANTITY,
    ensemble.QUANTITY,
    width.QUANTITY,
    machinery.QUANTITY,
)

__all__ = ["QUANTITIES", "Gathering", "Quantity", "Sizes"]
