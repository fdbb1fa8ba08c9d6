import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform

from rashomon_cli.science.components import JOINED, NOT_JOINED, UNDECIDED, merges, pieces, state


@pytest.mark.parametrize(
    ("barrier", "stderr", "expected"),
    [
        (0.03, 0.01, JOINED),
        (0.04, 0.01, UNDECIDED),
        (0.06, 0.01, UNDECIDED),
        (0.08, 0.01, NOT_JOINED),
        (0.05, 0.0, JOINED),
        (0.0501, 0.0, NOT_JOINED),
        (0.01, math.nan, UNDECIDED),
        (math.nan, 0.0, NOT_JOINED),
        (math.inf, math.nan, NOT_JOINED),
    ],
)
def test_a_pair_is_decided_at_two_standard_errors(barrier, stderr, expected):
    assert state(barrier, stderr, 0.05) == expected


def test_a_better_path_is_worth_more():
    assert JOINED > UNDECIDED > NOT_JOINED > 0


def test_two_pieces():
    joined = np.zeros((4, 4), bool)
    joined[0, 2] = joined[2, 0] = joined[1, 3] = joined[3, 1] = True
    count, labels = pieces(joined)
    assert count == 2
    assert labels.tolist() == [0, 1, 0, 1]


def symmetric(values, count):
    found = np.full((count, count), np.nan)
    found[np.triu_indices(count, 1)] = values
    found.T[np.triu_indices(count, 1)] = values
    return found


@given(st.integers(2, 8).flatmap(lambda n: st.tuples(st.just(n), st.permutations(range(n * (n - 1) // 2)))))
def test_merging_is_single_linkage(case):
    count, order = case
    levels = symmetric(np.array(order, dtype=float), count)
    found = merges(levels)
    expected = linkage(squareform(np.nan_to_num(levels)), "single")
    assert [m.level for m in found] == expected[:, 2].tolist()
    assert [m.left for m in found] == list(range(count - 1, 0, -1))
    assert all(levels[m.one, m.other] == m.level for m in found)


def test_a_detour_counts_where_it_is_lower():
    # 0 and 2 are joined directly at 9 only, but through 1 at 4.
    found = merges(symmetric([3.0, 9.0, 4.0], 3))
    assert [(m.level, m.one, m.other, m.left) for m in found] == [(3.0, 0, 1, 2), (4.0, 1, 2, 1)]


def test_what_no_path_joins_stays_apart():
    assert [m.left for m in merges(symmetric([1.0, np.nan, np.inf], 3))] == [2]
