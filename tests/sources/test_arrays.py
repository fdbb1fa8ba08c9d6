"""What ``Data`` takes: arrays, tensors and lists, images of every layout."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from rashomon_cli import Data
from rashomon_cli.core.errors import Refused
from rashomon_cli.sources.arrays import normalisation

X, Y = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 3, 5, 7), dtype=np.uint8)


def made(x=X, y=Y):
    return Data(x, y, x, y)


@pytest.mark.parametrize(
    "form", [np.asarray, torch.tensor, np.ndarray.tolist, lambda a: a[::-1][::-1], np.asfortranarray], ids=range(5)
)
def test_lists_and_tensors_are_as_good_as_arrays(form):
    found = made(form(X), form(Y))
    assert (found.x_train.dtype, found.y_train.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(found.x_train, X)
    np.testing.assert_array_equal(found.y_test, Y)
    assert found.content == made().content
    torch.from_numpy(found.x_train)


def test_doubles_become_floats_and_small_integers_class_numbers():
    found = made(X.astype(np.float64), Y.astype(np.uint8))
    assert (found.x_train.dtype, found.y_train.dtype) == (np.float32, np.int64)
    regression = made(X, X.astype(np.float64))
    assert (regression.is_regression, regression.y_train.dtype) == (True, np.float32)
    tokens = made(np.arange(12).reshape(6, 2))
    assert tokens.x_train.dtype == np.int64


@pytest.mark.parametrize("form", [np.asarray, torch.from_numpy])
def test_images_of_any_layout_get_their_channels_first(form):
    for given, expected in (
        (PIXELS, PIXELS),
        (PIXELS.transpose(0, 2, 3, 1), PIXELS),
        (PIXELS[:, 0], PIXELS[:, :1]),
        (PIXELS[:, :1].transpose(0, 2, 3, 1), PIXELS[:, :1]),
    ):
        found = made(form(given))
        assert found.is_images
        np.testing.assert_array_equal(found.x_train, expected)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([[1.0], [1.0, 2.0]], [0, 1], "x_train is list, no array of numbers"),
        (torch.ones(2, 2, requires_grad=True), [0, 1], "x_train is Tensor, no array of numbers: Can't call numpy"),
        (torch.ones(2, 2), ["cat", "dog"], "y_train is no array of numbers: <U3"),
        (None, [0], "x_train is no array of numbers: object"),
        (X, 3, "y_train is one number, no array"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(x, y, words):
    with pytest.raises(Refused, match=words):
        made(x, y)


def test_the_digest_of_the_content_sees_values_types_shapes_and_places():
    given = {"x_train": X, "y_train": Y, "x_test": X, "y_test": Y}
    found = Data(**given)
    expected = hashlib.sha256()
    for name, array in given.items():
        expected.update(f"{name} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    assert found.content == expected.hexdigest()
    others = [
        replace(found, x_test=X + 1),
        replace(found, x_train=X.astype(np.int32), x_test=X.astype(np.int32)),
        replace(found, x_train=X[:, :, None], x_test=X[:, :, None]),
        replace(found, y_test=Y[::-1]),
        replace(found, y_train=Y[::-1]),
    ]
    assert len({data.content for data in (found, *others)}) == 6


def test_given_statistics_are_for_each_channel_or_for_all():
    data = made(PIXELS)
    assert normalisation(data, None) == data.statistics()
    assert normalisation(data, ((0.5,), (1.0,))) == ([0.5] * 3, [1.0] * 3)
    assert normalisation(data, ((0.1, 0.2, 0.3), (1.0, 0.5, 1.0))) == ([0.1, 0.2, 0.3], [1.0, 0.5, 1.0])
    assert normalisation(made(), ((0.5,), (1.0,))) is None
    with pytest.raises(Refused, match="mean and std have 2 and 2 numbers, images 3 channels"):
        normalisation(data, ((0.1, 0.2), (1.0, 1.0)))
