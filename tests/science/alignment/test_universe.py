"""Several networks in one universe: going round a cycle leads back to where one began."""

import numpy as np
import torch

from rashomon_cli.science.alignment.universe import together
from rashomon_cli.science.symmetries import check, permute


def test_copies_of_one_network_all_come_together(make, plant):
    planted = plant(make("mlp(width=10)", (5,)), torch.randn(4, 5))
    sources = [check.shuffled(planted.symmetries, planted.symmetries.groups, seed) for seed in (3, 4, 5)]
    copies = [planted.own, *(permute(planted.symmetries, planted.own, source) for source in sources)]
    matches = together(planted.symmetries, copies, planted.names)
    for match, source in zip(matches[1:], sources):
        assert (match.source == np.argsort(source)).all()


def test_the_first_stays_and_unlike_networks_are_brought_nearer_to_each_other(make, plant):
    planted = [plant(make("mlp(width=10)", (5,), seed=seed), torch.randn(4, 5)) for seed in range(3)]
    symmetries, networks = planted[0].symmetries, [p.own for p in planted]
    matches = together(symmetries, networks, planted[0].names)
    assert (matches[0].source == symmetries.identity()).all()
    moved = [permute(symmetries, each, match.source) for each, match in zip(networks, matches)]

    def apart(one, other):
        return sum(float((one[n] - other[n]).square().sum()) for n in planted[0].names)

    pairs = [(0, 1), (0, 2), (1, 2)]
    assert sum(apart(moved[i], moved[j]) for i, j in pairs) < sum(apart(networks[i], networks[j]) for i, j in pairs)
