"""Rashomon sets among the models of a store: those whose loss is near the lowest among their like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from rashomon_cli.core.specs import Spec

LOSS = "train_loss"


class Model(Protocol):
    """What is asked of an entry of the list."""

    @property
    def kind(self) -> str:
        """What the run is."""
        ...

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Headline numbers."""
        ...

    @property
    def record(self) -> Mapping[str, Any]:
        """What ``run.json`` says."""
        ...


M = TypeVar("M", bound=Model)


def rashomon_sets(entries: Iterable[M], width: float) -> dict[str, list[M]]:
    """The models near the best of their like: of the same builder, data and loss.

    Args:
        entries: runs; those that are no models, or have no loss on the training data, belong to no set.
        width: ε in nats, in the metric :data:`LOSS`.

    Returns:
        For each set, named after builder and data, its models in the order given.
    """
    alike: dict[tuple[object, ...], list[M]] = {}
    for entry in entries:
        if entry.kind == "model" and entry.metrics.get(LOSS) is not None and (identity := _identity(entry)):
            alike.setdefault(identity, []).append(entry)
    found: dict[str, list[M]] = {}
    for models in alike.values():
        lowest = min(model.metrics[LOSS] for model in models)
        name = called = _name(models[0])
        while name in found:
            name = f"{called} #{len(found) + 1}"
        found[name] = [model for model in models if model.metrics[LOSS] <= lowest + width]
    return found


def _identity(entry: Model) -> tuple[object, ...] | None:
    """What makes two models comparable; None where the record does not tell."""
    builder, data = entry.record.get("builder"), entry.record.get("data")
    if not builder or not data:
        return None
    arguments = str(sorted(builder["arguments"].items()))
    loss = entry.record["config"].get("loss")
    return builder["target"], arguments, builder.get("sha256"), data["fingerprint"], loss


def _name(entry: Model) -> str:
    builder = entry.record["builder"]
    return f"{Spec(builder['target'], builder['arguments'])}, {entry.record['data']['spec']}"
