"""Training and test examples as arrays: what every data source returns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rashomon_cli.core.errors import Refused
from rashomon_cli.core.results import Array

Statistics = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation of each channel of images whose pixels are in [0, 1]."""

NAMES = ("x_train", "y_train", "x_test", "y_test")
_NEEDED = "inputs and targets of one length, finite; class numbers from 0, or float targets"
_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Data:
    """Training and test examples, in memory.

    Arrays, lists and CPU tensors are taken. Floats become float32, class numbers int64.

    Attributes:
        x_train: inputs (N, …); uint8 images (N, channels, height, width), (N, height, width) or (N, height, width,
            channels) are put into the first form and normalised by the training statistics, other inputs are taken
            as they are.
        y_train: class numbers (N,), or float targets (N,) or (N, k) for regression.
        x_test: as ``x_train``.
        y_test: as ``y_train``.
        augmentation: ``crop-flip`` where that keeps the classes (natural images), else ``none``.
        encoding: what the files were, where that changes the pixels (``JPEG``).

    Raises:
        Refused: if shapes or types do not fit.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    augmentation: str = "none"
    encoding: str = ""

    def __post_init__(self) -> None:
        """Bring inputs and targets into their types; check lengths, shapes and labels.

        Raises:
            Refused: if they do not fit.
        """
        for name in NAMES:
            array = _array(name, getattr(self, name))
            object.__setattr__(self, name, _inputs(array) if name.startswith("x") else _targets(array))
        for split, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            if len(x) != len(y):
                raise Refused(f"x_{split} has {len(x)} examples, y_{split} has {len(y)}", _NEEDED)
            if len(x) == 0:
                raise Refused(f"x_{split} is empty", _NEEDED)
            for name, array in (("x", x), ("y", y)):
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise Refused(f"{name}_{split} holds values that are not finite", _NEEDED)
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            shapes = f"train inputs are {self.x_train.shape[1:]}, test inputs {self.x_test.shape[1:]}"
            raise Refused(shapes, _NEEDED)
        if not self.is_regression and min(self.y_train.min(), self.y_test.min()) < 0:
            raise Refused("class numbers must not be negative", _NEEDED)

    @property
    def is_images(self) -> bool:
        """Whether inputs are uint8 images."""
        return bool(self.x_train.dtype == np.uint8 and self.x_train.ndim == 4)

    @property
    def is_regression(self) -> bool:
        """Whether targets are real numbers."""
        return self.y_train.dtype.kind == "f"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""
        return tuple(self.x_train.shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes, or of regression targets."""
        if self.is_regression:
            return 1 if self.y_train.ndim == 1 else int(self.y_train.shape[1])
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    @cached_property
    def content(self) -> str:
        """SHA-256 over the four arrays with their types and shapes."""
        found = hashlib.sha256()
        for name in NAMES:
            array: Array = getattr(self, name)
            found.update(f"{name} {array.dtype} {array.shape}\n".encode())
            found.update(array.data)
        return found.hexdigest()

    def statistics(self) -> Statistics | None:
        """Mean and standard deviation of each channel over the training images, of 255; None without images."""
        if not self.is_images:
            return None
        means, deviations = [], []
        for channel in range(self.x_train.shape[1]):
            counts = np.bincount(self.x_train[:, channel].ravel(), minlength=256)
            values = np.arange(256) / 255
            mean = float(counts @ values / counts.sum())
            means.append(mean)
            deviations.append(max(float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())), 1e-6))
        return means, deviations


def normalisation(data: Data, given: Statistics | None) -> Statistics | None:
    """The statistics that inputs are normalised by.

    Args:
        data: the examples.
        given: mean and standard deviation of each channel, or one of each for all; None takes those of the training
            images.

    Returns:
        Mean and standard deviation of each channel; None without images.

    Raises:
        Refused: if they are given for another number of channels.
    """
    if given is None or not data.is_images:
        return data.statistics()
    channels = data.input_shape[0]
    if any(len(values) not in (1, channels) for values in given):
        counts = " and ".join(str(len(values)) for values in given)
        raise Refused(f"mean and std have {counts} numbers, images {channels} channels", "one number a channel")
    mean, std = (list(values) * (channels if len(values) == 1 else 1) for values in given)
    return mean, std


def _array(name: str, given: Any) -> Array:
    """An array of numbers, its examples along the first axis, in C order.

    Raises:
        Refused: if it is none.
    """
    try:
        array: Array = np.asarray(given, order="C")
    except (TypeError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise Refused(f"{name} is {type(given).__name__}, no array of numbers: {reason}", _NEEDED) from None
    if array.dtype.kind not in "fiub":
        raise Refused(f"{name} is no array of numbers: {array.dtype}", _NEEDED)
    if array.ndim == 0:
        raise Refused(f"{name} is one number, no array", _NEEDED)
    return array


def _inputs(x: Array) -> Array:
    """Images to (N, channels, height, width); float inputs to float32; the rest as it is."""
    if x.dtype == np.uint8 and x.ndim == 3:
        return x[:, None]
    if x.dtype == np.uint8 and x.ndim == 4 and x.shape[1] not in _CHANNELS and x.shape[3] in _CHANNELS:
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    return x.astype(np.float32, copy=False) if x.dtype.kind == "f" else x


def _targets(y: Array) -> Array:
    return y.astype(np.float32 if y.dtype.kind == "f" else np.int64, copy=False)
