"""Where data come from: how a name finds its source, and what a run keeps of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from rashomon_cli.core.cache import ArrayCache, NoCache
from rashomon_cli.core.errors import RashomonError, Refused, UsageError, no_such
from rashomon_cli.core.seeds import derive
from rashomon_cli.core.specs import Spec, parse_spec
from rashomon_cli.sources import imports, places
from rashomon_cli.sources.arrays import NAMES, Statistics, normalisation
from rashomon_cli.sources.arrays import Data as Data


@dataclass(frozen=True)
class Source:
    """Where data come from, before they are read.

    Attributes:
        spec: target and arguments; of a file its name alone, wherever it lies.
        fingerprint: digest of what the files are (names and sizes, or contents).
        read: reads and decodes.
        cache_key: under which the outcome of a slow decoding is kept; None where it is not.
        given: the specification as the user typed it; None where that is ``spec``.
        path: of its file or folder, absolute, where the target names one.
    """

    spec: Spec
    fingerprint: str
    read: Callable[[], Data]
    cache_key: str | None = None
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
        found = cache.load(self.cache_key) if self.cache_key else None
        if found is not None:
            tags = [bytes(found.pop(name)).decode() for name in ("augmentation", "encoding")]
            return Data(**found, augmentation=tags[0], encoding=tags[1])
        data = self.read()
        if self.cache_key:
            arrays = {name: getattr(data, name) for name in NAMES}
            for name in ("augmentation", "encoding"):
                arrays[name] = np.frombuffer(getattr(data, name).encode(), dtype=np.uint8)
            cache.save(self.cache_key, arrays)
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


def record(source: Source, data: Data, statistics: Statistics | None = None) -> dict[str, Any]:
    """What ``run.json`` keeps of the data: enough to load them again and to fit other data to the model.

    Args:
        source: where they come from.
        data: the examples.
        statistics: mean and standard deviation of the images' channels; None takes those of the training images.

    Returns:
        JSON values.

    Raises:
        Refused: if the statistics are for another number of channels.
    """
    statistics = normalisation(data, statistics)
    return {
        "spec": str(source.given or source.spec),
        **({"path": str(source.path)} if source.path else {}),
        "fingerprint": source.fingerprint,
        "content": data.content,
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
    return _Subset(spec, digest, whole.read, whole.cache_key, whole=whole, cut=cut)


@dataclass(frozen=True)
class _Subset(Source):
    whole: Source | None = None
    cut: Callable[[Data], Data] = lambda data: data

    def load(self, cache: ArrayCache | None = None) -> Data:
        assert self.whole is not None
        return self.cut(self.whole.load(cache))


def _made(spec: Spec) -> Data:
    """What a function of the user's returns.

    Raises:
        Refused: if it fails, or returns something else.
        RashomonError: if what it returns is refused.
    """
    function = imports.load(spec.target)
    try:
        made = function(**spec.arguments)
    except RashomonError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise Refused(f"{spec} failed: {reason}", "check its arguments; --debug shows the place") from error
    if not isinstance(made, Data):
        raise Refused(f"{spec.target} returned {type(made).__name__}", "return rashomon_cli.Data(x_train, y_train, …)")
    return made
