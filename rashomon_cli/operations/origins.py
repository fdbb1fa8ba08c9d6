"""What a new model is made of: a builder, data and a loss by name, as ``train`` and ``import`` are given them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rashomon_cli.operations import problems
from rashomon_cli.operations.context import Context
from rashomon_cli.sources import builders, data, places


@dataclass(frozen=True)
class Origin:
    """Names that exist, and what they stand for.

    Attributes:
        builder: of the model.
        source: of the data.
        loss: its name as the user typed it.
    """

    builder: builders.Builder
    source: data.Source
    loss: str

    @classmethod
    def of(cls, context: Context, model: str, data: str, loss: str) -> Origin:
        """Look up all three, without importing torch or the user's code.

        Raises:
            UsageError: if a name does not exist.
        """
        origin = cls(builders.resolve(model), context.source(data), loss)
        problems.check_loss(loss)
        return origin

    @property
    def name(self) -> str:
        """A name of the problem, the same for the same builder, data and loss."""
        return json.dumps([self.builder.record(), self.source.fingerprint, self.loss], sort_keys=True)

    @property
    def record(self) -> dict[str, str]:
        """The three options as a run's key has them: of a file its name, wherever it lies."""
        return {"model": str(self.builder.spec), "data": str(self.source.spec), "loss": places.bare(self.loss)}

    @property
    def fingerprints(self) -> dict[str, str]:
        """Digests of what the names stand for, where they stand for files."""
        loss = problems.loss_fingerprint(self.loss)
        found = {"data": self.source.fingerprint, "builder": self.builder.sha256, "loss": loss}
        return {what: digest for what, digest in found.items() if digest}

    def load(self, context: Context, **more: Any) -> problems.Loaded:
        """The problem; see :func:`rashomon_cli.operations.problems.load` for ``more``.

        Raises:
            Refused: if model, data and loss do not fit.
        """
        return problems.load(context, self.builder, self.source, self.loss, **more)
