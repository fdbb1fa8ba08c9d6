"""What ``probe`` can measure: one small file each, listed here and nowhere else."""

from rashomon_cli.operations.quantities import distance, gradient, hvp, loss
from rashomon_cli.operations.quantities.quantity import Quantity, Sizes

QUANTITIES: tuple[Quantity, ...] = (loss.QUANTITY, gradient.QUANTITY, hvp.QUANTITY, distance.QUANTITY)

__all__ = ["QUANTITIES", "Quantity", "Sizes"]
