"""What it costs to choose directions by a curvature matrix at a point, as ``reach`` and ``flat`` do."""

from __future__ import annotations

from rashomon_cli.operations.plan import Step
from rashomon_cli.operations.quantities.matrix import searching

DEFLATED = 10  # eigenvectors of the largest |λ| that near-null directions are kept away from
_RANGE = 24  # products that tell the interval of the filter


def choosing(name: str, examples: int, *, near_null: int, degree: int, top: int = 0, others: int = 0) -> list[Step]:
    """Steps of choosing directions.

    Args:
        name: of the quantity.
        examples: of the matrix.
        near_null: near-null directions.
        degree: of their filter.
        top: steepest directions.
        others: further directions, whose curvatures are measured too.

    Returns:
        The search for the steepest pairs, which takes more where they lie close; the filter; curvatures.
    """
    known = DEFLATED if near_null else 0
    pairs, rows, found = max(top, known), near_null + top + others, []
    if pairs:
        count = searching(pairs)
        title = f"{name}: steepest pairs in about {count} products"
        found.append(Step(title, count * examples, "product", vectors=1, batch=examples))
    if near_null:
        title = f"{name}: range of the spectrum in {_RANGE} products"
        found.append(Step(title, _RANGE * examples, "product", vectors=1, batch=examples))
        title = f"{name}: {near_null} near-null directions in {degree + 1} products each"
        found.append(Step(title, (degree + 1) * examples, "product", vectors=near_null, batch=examples))
    if known + rows:
        found.append(Step(f"{name}: curvatures", examples, "product", vectors=known + rows, batch=examples))
    return found
