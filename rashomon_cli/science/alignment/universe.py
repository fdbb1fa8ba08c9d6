"""Several networks in one universe: each has one permutation into it, so that going round a cycle leads back.

Every network in turn is matched with the mean of the others until none moves (Ainsworth et al. 2022, arXiv 2209.04836,
algorithm 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from rashomon_cli.science.alignment.matching import Match, by_weights
from rashomon_cli.science.symmetries.labels import Ids
from rashomon_cli.science.symmetries.structure import Symmetries, permute

_ROUNDS = 50


def together(
    symmetries: Symmetries, networks: Sequence[Mapping[str, Tensor]], names: frozenset[str], seed: int = 0
) -> list[Match]:
    """Match several networks, the first of which stays where it is.

    Args:
        symmetries: of all.
        networks: tensors of each, float64 and balanced.
        names: of the parameters.
        seed: of the orders.

    Returns:
        One match a network; that of the first leaves every unit in its place.
    """
    random = np.random.default_rng(seed)
    sources = [symmetries.identity()]
    sources += [by_weights(symmetries, networks[0], each, names, seed).source for each in networks[1:]]
    moved = [permute(symmetries, each, source) for each, source in zip(networks, sources)]
    for _ in range(_ROUNDS if len(networks) > 2 else 0):
        changed = False
        for number in random.permutation(len(networks)):
            others = [each for index, each in enumerate(moved) if index != number]
            mean = {name: torch.stack([each[name] for each in others]).mean(0) for name in names}
            match = by_weights(symmetries, mean, moved[number], names, seed)
            if (match.source != symmetries.identity()).any():
                moved[number] = permute(symmetries, moved[number], match.source)
                sources[number] = sources[number][match.source]
                changed = True
        if not changed:
            break
    back = np.argsort(sources[0])
    return [Match(_after(source, back)) for source in sources]


def _after(source: Ids, back: Ids) -> Ids:
    """A permutation into the universe, then the one that takes the first network back to where it was."""
    found: Ids = source[back]
    return found
