"""What a data source returns, and how a name finds its source."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rashomon_cli.core.cache import ArrayCache, NoCache
from rashomon_cli.core.errors import Refused, UsageError, no_such
from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive
from rashomon_cli.core.specs import Spec, parse_spec
from rashomon_cli.sources import imports, places

_NEEDED = "inputs and targets of one length, finite; class numbers from 0, or float targets"


@dataclass(frozen=True)
class Data:
    """Training and test examples, in memory.

    Attributes:
        x_train: inputs (N, …); uint8 images (N, channels, height, width) are normalised by the training statistics,
            other inputs are taken as they are.
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
        """Check lengths, shapes and labels.

        Raises:
            Refused: if they do not fit.
        """
        for split, x, y in (("train", self.x_train, self.y_train), ("test", self.x_test, self.y_test)):
            if len(x) != len(y):
                raise Refused(f"x_{split} has {len(x)} examples, y_{split} has {len(y)}", _NEEDED)
            if len(x) == 0:
                raise Refused(f"x_{split} is empty", _NEEDED)
            for name, array in (("x", x), ("y", y)):
                if array.dtype.kind not in "fiub":
                    raise Refused(f"{name}_{split} is no array of numbers: {array.dtype}", _NEEDED)
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

    def statistics(self) -> tuple[list[float], list[float]] | None:
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


@dataclass(frozen=True)
class Source:
    """Where data come from, before they are read.

    Attributes:
        spec: target and arguments; of a file its name alone, wherever it lies.
        fingerprint: digest of what the files are (names and sizes, or contents).
        read: reads and decodes.
        cached: whether decoding is slow enough to keep its outcome.
        given: the specification as the user typed it; None where that is ``spec``.
        path: of its file or folder, absolute, where the target names one.
    """

    spec: Spec
    fingerprint: str
    read: Callable[[], Data]
    cached: bool = False
    given: Spec | None = None
    path: Path | None = None

    def load(self, cache: ArrayCache | None = None) -> Data:
        """Read the data, from the cache where it has them.

        Args:
            cache: where decoded arrays are kept.

        Returns:
            The data.

        Raises:
            Refused: if the files do not hold what they should.
        """
        cache = cache or NoCache()
        key = f"data-{self.fingerprint[:32]}"
        found = cache.load(key) if self.cached else None
        if found is not None:
            tags = [bytes(found.pop(name)).decode() for name in ("augmentation", "encoding")]
            return Data(**found, augmentation=tags[0], encoding=tags[1])
        data = self.read()
        if self.cached:
            arrays = {name: getattr(data, name) for name in ("x_train", "y_train", "x_test", "y_test")}
            for name in ("augmentation", "encoding"):
                arrays[name] = np.frombuffer(getattr(data, name).encode(), dtype=np.uint8)
            cache.save(key, arrays)
        return data


def resolve(text: str, data_root: Path | None = None) -> Source:
    """Find a data source and fingerprint its files, without decoding them.

    Args:
        text: ``digits``, ``photos``, ``mnist``, ``fashion-mnist``, ``cifar10``, ``cifar100``, ``folder:PATH``,
            ``npz:PATH`` or ``module:factory``; with ``(train=N)`` only N training examples, a fixed random choice.
        data_root: where files of named data sets are; ``RASHOMON_DATA`` where None.

    Returns:
        The source.

    Raises:
        UsageError: if there is no such source or its files are missing.
    """
    return find(parse_spec(text), data_root)


def find(spec: Spec, data_root: Path | None = None, path: Path | None = None) -> Source:
    """The source of a specification that was read.

    Args:
        spec: as the user typed it.
        data_root: where files of named data sets are; ``RASHOMON_DATA`` where None.
        path: of its file or folder, where that is at another place than the one typed.

    Returns:
        The source.

    Raises:
        UsageError: if there is no such source or its files are missing.
    """
    bare, here = (Spec(t, spec.arguments) for t in (places.bare(spec.target), places.at(spec.target, path)))
    return replace(_source(here, bare, data_root), spec=bare, given=spec, path=path or places.path_of(spec.target))


def _source(spec: Spec, bare: Spec, data_root: Path | None) -> Source:
    from rashomon_cli.sources.datasets import BUILT_IN, archive, folder

    if "train" in spec.arguments:
        return _subset(spec, data_root)
    if spec.target.startswith("folder:"):
        return folder.source(spec)
    if spec.target.startswith("npz:"):
        return archive.source(spec)
    if spec.target in BUILT_IN:
        if spec.arguments:
            raise UsageError(f"{spec.target} takes no arguments", f"--data {spec.target}")
        return BUILT_IN[spec.target](spec, data_root)
    if imports.is_import(spec.target):
        digest = imports.fingerprint(spec.target) or ""
        return Source(spec, hashlib.sha256(f"{bare} {digest}".encode()).hexdigest(), lambda: _made(spec))
    no_such("data set", spec.target, BUILT_IN, f"one of {', '.join(BUILT_IN)}, folder:PATH, npz:PATH")


def record(source: Source, data: Data) -> dict[str, Any]:
    """What ``run.json`` keeps of the data: enough to load them again and to fit other data to the model."""
    statistics = data.statistics()
    return {
        "spec": str(source.given or source.spec),
        **({"path": str(source.path)} if source.path else {}),
        "fingerprint": source.fingerprint,
        "input_shape": list(data.input_shape),
        "dtype": str(data.x_train.dtype),
        "num_classes": data.num_classes,
        "regression": data.is_regression,
        "train_count": len(data.x_train),
        "test_count": len(data.x_test),
        "mean": statistics[0] if statistics else None,
        "std": statistics[1] if statistics else None,
        "encoding": data.encoding,
    }


def of_record(record: dict[str, Any], data_root: Path | None) -> tuple[Source, str | None]:
    """The source of a run's record.

    Args:
        record: what :func:`record` returned.
        data_root: where files of named data sets are.

    Returns:
        The source as it is now, and a warning where its files changed since.

    Raises:
        UsageError: if its files are gone.
    """
    spec = parse_spec(record["spec"])
    source = find(spec, data_root, places.recalled(spec.target, record.get("path")))
    if source.fingerprint == record["fingerprint"]:
        return source, None
    what = f"the data {places.at(spec.target, source.path)}"
    return source, imports.changed(what, record["fingerprint"], source.fingerprint)


def _subset(spec: Spec, data_root: Path | None) -> Source:
    arguments = dict(spec.arguments)
    count = arguments.pop("train")
    if not isinstance(count, int) or count < 1:
        raise UsageError(f"train={count!r} in {spec} is no number of examples", f"{spec.target}(train=10000)")
    whole = find(Spec(spec.target, arguments), data_root)

    def cut(data: Data) -> Data:
        if count > len(data.x_train):
            raise UsageError(f"{spec}: there are only {len(data.x_train)} training examples", f"--data {whole.given}")
        chosen = np.sort(np.random.default_rng(derive(0, "train subset")).permutation(len(data.x_train))[:count])
        return replace(data, x_train=data.x_train[chosen], y_train=data.y_train[chosen])

    digest = hashlib.sha256(f"{whole.fingerprint} train={count}".encode()).hexdigest()
    return _Subset(spec, digest, whole.read, whole.cached, whole=whole, cut=cut)


@dataclass(frozen=True)
class _Subset(Source):
    whole: Source | None = None
    cut: Callable[[Data], Data] = lambda data: data

    def load(self, cache: ArrayCache | None = None) -> Data:
        assert self.whole is not None
        return self.cut(self.whole.load(cache))


def _made(spec: Spec) -> Data:
    made = imports.load(spec.target)(**spec.arguments)
    if not isinstance(made, Data):
        raise Refused(f"{spec.target} returned {type(made).__name__}", "return rashomon_cli.Data(x_train, y_train, …)")
    return made
