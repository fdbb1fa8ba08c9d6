"""Rashomon sets among the models of a store: those whose loss is near the lowest among their like."""

from __future__ import annotations

import json
from collections import Counter
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
        entries: runs; those that are no models, or whose record tells no loss, builder and data, belong to no set.
        width: ε in nats, in the metric :data:`LOSS`.

    Returns:
        For each set, named after builder and data, its models in the order given.
    """
    alike: dict[str, list[M]] = {}
    for entry in entries:
        if entry.kind == "model" and _is_number(entry.metrics.get(LOSS)) and (identity := _identity(entry)):
            alike.setdefault(identity, []).append(entry)
    found: dict[str, list[M]] = {}
    namesakes: Counter[str] = Counter()
    for models in alike.values():
        lowest = min(model.metrics[LOSS] for model in models)
        name = _name(models[0])
        namesakes[name] += 1
        if namesakes[name] > 1:
            name += f" #{namesakes[name]}"
        found[name] = [model for model in models if model.metrics[LOSS] <= lowest + width]
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _identity(entry: Model) -> str | None:
    """What makes two models comparable; None where the record does not tell."""
    builder, data = entry.record.get("builder"), entry.record.get("data")
    if not isinstance(builder, dict) or not isinstance(data, dict):
        return None
    if not isinstance(builder.get("target"), str) or not isinstance(builder.get("arguments"), dict):
        return None
    if not {"spec", "fingerprint"} <= data.keys():
        return None
    told = [builder["target"], builder["arguments"], builder.get("sha256"), data["fingerprint"]]
    return json.dumps([*told, entry.record["config"].get("loss")], sort_keys=True)


def _name(entry: Model) -> str:
    builder = entry.record["builder"]
    return f"{Spec(builder['target'], builder['arguments'])}, {entry.record['data']['spec']}"
