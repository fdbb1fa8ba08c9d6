from __future__ import annotations

import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra.numpy import arrays

from rashomon_cli.science import similarity as science
from rashomon_cli.science.similarity import cluster_order, cosine_gaps, headline, pairs, similarity

NAMES = ("cosine", "cosine_logits", "cosine_centred", "cosine_flattened", "cosine_floor", "disagreement")
LOGITS = arrays(
    np.float32, st.tuples(st.just(3), st.integers(2, 8), st.integers(1, 4)), elements=st.floats(-50, 50, width=32)
)


def values(logits, seed=0):
    return {name: variable.values for name, variable in similarity(logits, seed).items()}


def random_logits(models=4, count=450, classes=5, seed=0):
    return np.random.default_rng(seed).normal(size=(models, count, classes)).astype(np.float32)


def one_hot(classes, count=10, of=3):
    return np.where(np.arange(of) == np.asarray(classes)[:, None], 2000.0, 0.0).astype(np.float32).repeat(count, 0)


def cosine(a, b):
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / lengths if lengths > 1e-12 else 0.0


def softmax(z):
    e = np.exp(z.astype(np.float64) - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def test_identical_models_are_alike_and_never_disagree():
    z = random_logits(1)[0]
    found = similarity([z, z])
    for name in ("cosine", "cosine_logits", "cosine_centred", "cosine_flattened"):
        assert found[name].values == pytest.approx(np.ones((2, 2)), abs=1e-12)
    assert (found["disagreement"].values == 0).all()
    assert (found["disagreement"].stderr == 0).all()
    assert found["cosine"].stderr == pytest.approx(np.zeros((2, 2)), abs=1e-12)
    assert (found["cosine_floor"].values < 0.9).all()


def test_orthogonal_one_hot_predictions_score_zero_and_always_disagree():
    found = values([one_hot([0, 1]), one_hot([1, 2])])
    for name in ("cosine", "cosine_logits", "cosine_flattened"):
        assert found[name][0, 1] == 0
        assert found[name][0, 0] == pytest.approx(1)
    assert found["disagreement"].tolist() == [[0, 1], [1, 0]]


def test_independent_uniform_vectors_score_three_quarters_and_centred_nothing():
    uniform = np.random.default_rng(0).uniform(size=(2, 20_000, 10))
    found = similarity(np.log(uniform))
    cosine_error = found["cosine"].stderr[0, 1]
    # E[u]² / E[u²] = (1/4) / (1/3), up to terms in 1/C.
    assert found["cosine"].values[0, 1] == pytest.approx(0.75, abs=0.02)
    assert found["cosine_floor"].values[0, 1] == pytest.approx(found["cosine"].values[0, 1], abs=5 * cosine_error)
    assert found["cosine_centred"].values[0, 1] == pytest.approx(0, abs=0.02)


def test_every_matrix_equals_a_slow_loop():
    z = random_logits()
    p, count = softmax(z), z.shape[1]
    assert count > 2 * science.CHUNK
    centred = p - p.mean(1, keepdims=True)
    found = similarity(list(z))
    for i, j in itertools.product(range(len(z)), repeat=2):
        each = np.array([cosine(p[i, k], p[j, k]) for k in range(count)])
        differ = np.array([z[i, k].argmax() != z[j, k].argmax() for k in range(count)], dtype=float)
        expected = {
            "cosine": each.mean(),
            "cosine_logits": np.mean([cosine(z[i, k].astype(float), z[j, k].astype(float)) for k in range(count)]),
            "cosine_centred": np.mean([cosine(centred[i, k], centred[j, k]) for k in range(count)]),
            "cosine_flattened": cosine(p[i].ravel(), p[j].ravel()),
            "disagreement": differ.mean(),
        }
        for name, value in expected.items():
            assert found[name].values[i, j] == pytest.approx(value, abs=1e-10), name
        for name, sample in (("cosine", each), ("disagreement", differ)):
            error = sample.std(ddof=1) / np.sqrt(count)
            assert found[name].stderr[i, j] == pytest.approx(error, abs=1e-10), name


def test_the_floor_lies_where_the_mean_over_all_shuffles_lies():
    z = random_logits(2, count=2000) + np.array([1.0, 0, 0, 0, 0], dtype=np.float32)
    p = softmax(z)
    unit = p / np.linalg.norm(p, axis=-1, keepdims=True)
    every = unit[0].sum(0) @ unit[1].sum(0)
    expected = (every - np.einsum("nc,nc->", unit[0], unit[1])) / (2000 * 1999)
    found = [values(z, seed)["cosine_floor"] for seed in range(5)]
    assert np.mean([f[0, 1] for f in found]) == pytest.approx(expected, abs=0.01)
    assert len({f[0, 1] for f in found}) == 5
    assert (values(z, 3)["cosine_floor"] == found[3]).all()


def test_the_floor_leaves_no_image_in_its_place():
    # Each image has a class of its own, so only an image against itself scores.
    z = (np.eye(7) * 2000).astype(np.float32)
    for seed in range(20):
        assert values([z, z], seed)["cosine_floor"].tolist() == [[0, 0], [0, 0]]


def test_zero_vectors_score_zero_not_nan():
    constant = np.tile(np.array([0.3, -0.2, 0.1], dtype=np.float32), (50, 1))
    zero, other = np.zeros((50, 3), dtype=np.float32), random_logits(1, 50, 3)[0]
    found = values([zero, constant, other])
    assert all(np.isfinite(matrix).all() for matrix in found.values())
    assert found["cosine_logits"][0].tolist() == [0, 0, 0]
    assert found["cosine_centred"][:2, :].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert found["cosine"][0, 0] == pytest.approx(1)


def test_models_in_another_order_give_the_same_matrices_in_that_order():
    z, order = random_logits(), [2, 0, 3, 1]
    found, moved = values(z), values(z[order])
    for name in NAMES:
        assert moved[name] == pytest.approx(found[name][np.ix_(order, order)], abs=1e-12), name


@given(LOGITS, st.randoms(use_true_random=False))
def test_matrices_are_symmetric_bounded_and_blind_to_the_order_of_images(z, random):
    found = similarity(z)
    assert tuple(found) == NAMES
    for name, variable in found.items():
        low = 0 if name == "disagreement" else -1
        assert ((variable.values >= low) & (variable.values <= 1)).all(), name
        assert (variable.values == variable.values.T).all(), name
        assert variable.dims == ("model", "other")
        assert variable.stderr is None or (variable.stderr >= 0).all()
    order = list(range(z.shape[1]))
    random.shuffle(order)
    moved = values(z[:, order])
    for name in NAMES:
        # Centred vectors may be so short that rounding decides whether they count as zero.
        if name not in ("cosine_floor", "cosine_centred"):
            assert moved[name] == pytest.approx(found[name].values, abs=1e-9), name


def test_tensors_and_arrays_give_the_same():
    z = random_logits()
    for name, matrix in values([torch.from_numpy(one) for one in z]).items():
        assert (matrix == values(z)[name]).all()


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([np.zeros((4, 3)), np.zeros((4, 2))], "one shape"),
        ([np.zeros((4, 3)), np.zeros((5, 3))], "one shape"),
        ([np.zeros(4), np.zeros(4)], "one shape"),
        ([np.zeros((1, 3)), np.zeros((1, 3))], "two inputs"),
        ([np.zeros((4, 3)), np.full((4, 3), np.nan)], "model 1 are not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(logits, message):
    with pytest.raises(ValueError, match=message):
        similarity(logits)


def test_headline_counts_pairs_once():
    found = similarity(random_logits(5))
    metrics = headline(found)
    above = [found["cosine"].values[i, j] for i, j in itertools.combinations(range(5), 2)]
    assert sorted(pairs(found["cosine"].values)) == sorted(above)
    assert (metrics["models"], metrics["pairs"]) == (5, 10)
    assert metrics["cosine_min"] == min(above)
    assert metrics["cosine_median"] == pytest.approx(np.median(above))
    assert metrics["cosine_max"] == max(above)
    assert metrics["cosine_min"] <= metrics["cosine_median"] <= metrics["cosine_max"]


def test_clusters_put_like_models_side_by_side():
    kinds = np.array([0, 1, 0, 1, 0])
    matrix = np.where(kinds[:, None] == kinds, 0.9, 0.2)
    np.fill_diagonal(matrix, 1)
    order = cluster_order(matrix)
    assert sorted(order) == list(range(5))
    assert np.count_nonzero(np.diff(kinds[order])) == 1
    assert sorted(cluster_order(matrix[:2, :2])) == [0, 1]


def test_gaps_are_one_less_the_cosine_of_each_input_and_exactly_zero_for_equal_ones():
    a, b = (torch.from_numpy(z.astype(np.float64)) for z in random_logits(2, 30))
    expected = [1 - cosine(p, q) for p, q in zip(a.numpy(), b.numpy())]
    assert cosine_gaps(a, b).numpy() == pytest.approx(expected, abs=1e-12)
    assert not cosine_gaps(a, a.clone()).any()
    assert cosine_gaps(a, -3 * a).numpy() == pytest.approx(np.full(30, 2.0))


def test_a_zero_vector_is_as_far_as_an_orthogonal_one_from_any_but_another():
    nothing, something = torch.zeros(1, 3), torch.ones(1, 3)
    found = [float(cosine_gaps(*pair)) for pair in ((nothing, nothing), (nothing, something), (something, nothing))]
    assert found == [0, 1, 1]
