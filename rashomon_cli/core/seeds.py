"""Every random number comes from (seed, purpose, epoch)."""

from __future__ import annotations

import hashlib


def derive(seed: int, purpose: str, epoch: int = 0) -> int:
    """A seed for one generator.

    Args:
        seed: the run's seed.
        purpose: what the numbers are for; other purposes get independent numbers.
        epoch: the epoch or step, where there is one.

    Returns:
        An integer in [0, 2⁶³).
    """
    digest = hashlib.sha256(f"{seed}/{purpose}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
