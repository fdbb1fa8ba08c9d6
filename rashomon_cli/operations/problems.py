"""From a builder, data and a loss to a :class:`~rashomon_cli.science.problem.Problem`; torch is imported on use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rashomon_cli.core.errors import Refused, no_such
from rashomon_cli.core.results import Variable
from rashomon_cli.core.specs import Spec
from rashomon_cli.operations.context import Context
from rashomon_cli.sources import builders, data, imports, places
from rashomon_cli.sources.arrays import Statistics

if TYPE_CHECKING:
    import torch

    from rashomon_cli.science.problem import Loss, Problem
    from rashomon_cli.sources.batches import Batches

LOSSES = {"cross-entropy": "cross_entropy", "mse": "squared_error"}
EVALUATION_BATCH = 500
_EVALUATION_INPUTS = EVALUATION_BATCH * 3 * 32 * 32


def check_loss(name: str) -> None:
    """Refuse a loss that does not exist, without importing torch.

    Raises:
        UsageError: if it is neither built in nor ``module:function``.
    """
    if name in LOSSES:
        return
    if imports.is_import(name):
        imports.source_file(name)
        return
    no_such("loss", name, LOSSES, "cross-entropy, mse, or module:function")


def loss_fingerprint(name: str) -> str | None:
    """SHA-256 of the source file of a loss of the user's; None for what is built in.

    Raises:
        UsageError: if there is no such file or module.
    """
    return None if name in LOSSES else imports.fingerprint(name)


def loss_of_record(config: Mapping[str, Any], data: Mapping[str, Any]) -> tuple[str, str | None]:
    """The loss of a run's records.

    Args:
        config: the run's options.
        data: what ``run.json`` keeps of the data, and of a loss of the user's.

    Returns:
        A name for :func:`load`, and a warning where its source file changed since.

    Raises:
        UsageError: if there is no such file or module.
    """
    kept = data.get("loss")
    if kept is None:
        return str(config["loss"]), None
    name = places.at(kept["target"], places.recalled(kept["target"], kept.get("path")))
    now = imports.fingerprint(name)
    return name, None if now == kept["sha256"] else imports.changed(f"the loss {name}", kept["sha256"], now)


def statistics_of(record: Mapping[str, Any]) -> Statistics | None:
    """Mean and standard deviation of each channel that a run's images are normalised by; None without images.

    Args:
        record: what ``run.json`` keeps of the data.
    """
    return (record["mean"], record["std"]) if record["mean"] else None


def _loss_record(name: str) -> dict[str, Any]:
    """What ``run.json`` keeps of a loss of the user's, beside the data whose targets it takes."""
    if name in LOSSES:
        return {}
    path = places.path_of(name)
    return {"loss": {"target": name, "sha256": imports.fingerprint(name)} | ({"path": str(path)} if path else {})}


def in_units(loss: str, groups: Mapping[str, Mapping[str, Variable]]) -> dict[str, dict[str, Variable]]:
    """Measurements in the units of a loss: nats where it is a cross-entropy, a pure number otherwise.

    Args:
        loss: name of the loss.
        groups: variables by group, as if the loss were a cross-entropy.

    Returns:
        The same variables; cross-entropies themselves stay in nats.
    """
    if loss == "cross-entropy":
        return {group: dict(variables) for group, variables in groups.items()}
    return {
        group: {
            name: replace(v, units="1") if v.units == "nat" and "cross_entropy" not in name else v
            for name, v in variables.items()
        }
        for group, variables in groups.items()
    }


@dataclass(frozen=True)
class Loaded:
    """A problem and where it came from.

    Attributes:
        problem: model, loss and data.
        builder: of the model.
        source: of the data.
        data: the data.
        data_record: what ``run.json`` keeps of them, and of a loss of the user's.
    """

    problem: Problem
    builder: builders.Builder
    source: data.Source
    data: data.Data
    data_record: dict[str, Any]

    def batches(self, split: str) -> Batches:
        """The training or test examples, un-augmented."""
        found: Any = self.problem.train if split == "train" else self.problem.test
        batches: Batches = found
        return batches


def load(
    context: Context,
    builder: builders.Builder,
    source: data.Source,
    loss: str,
    *,
    device: torch.device,
    float64: bool = False,
    weight_decay: float = 0.0,
    seed: int = 0,
    statistics: Statistics | None = None,
) -> Loaded:
    """Read the data, make the module and check that they fit by forward passes of two examples.

    Args:
        context: store (for its cache) and circumstances.
        builder: of the model.
        source: of the data.
        loss: name of the loss.
        device: where to compute.
        float64: whether to measure in double precision.
        weight_decay: of the training.
        seed: of the module's initial parameters.
        statistics: that images are normalised by: those of the run whose weights are used, as
            :func:`statistics_of` gives them; None takes those of the training images.

    Returns:
        The problem; its module has the initial parameters of the seed.

    Raises:
        Refused: if model, data and loss do not fit.
    """
    import torch

    from rashomon_cli.core.seeds import derive
    from rashomon_cli.science.problem import Layout, Problem
    from rashomon_cli.sources.batches import batches

    found = source.load(context.store.cache)
    kept = data.record(source, found, statistics) | _loss_record(loss)
    dtype = torch.float64 if float64 else torch.float32
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(seed, "init"))
        module = builder.make(found.input_shape, found.num_classes).to(device=device, dtype=dtype)
    if any(torch.nn.parameter.is_lazy(value) for value in (*module.parameters(), *module.buffers())):
        raise Refused(f"the model {builder.spec} has lazy layers", "give them their sizes: Linear for LazyLinear")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise Refused(
            f"the model {builder.spec} has no parameters that are trained", "requires_grad=False freezes them"
        )
    # Batches of 500 small images; of larger inputs fewer, so that evaluating needs no more memory.
    batch_size = max(16, min(EVALUATION_BATCH, _EVALUATION_INPUTS // math.prod(found.input_shape)))
    train, test = (
        batches(x, y, device=device, statistics=statistics_of(kept), batch_size=batch_size, dtype=dtype)
        for x, y in ((found.x_train, found.y_train), (found.x_test, found.y_test))
    )
    loss_function = _loss(loss)
    problem = Problem(module, Layout.of(module), loss_function, train, test, not found.is_regression, weight_decay)
    _check(problem, found, f"the model {builder.spec}", f"the loss {loss}", source.spec)
    return Loaded(problem, builder, source, found, kept)


def _check(problem: Problem, found: data.Data, model: str, loss: str, what: Spec) -> None:
    """Try model and loss on two training examples.

    Raises:
        Refused: if model, data and loss do not fit.
    """
    import torch

    from rashomon_cli.science.problem import fresh_buffers
    from rashomon_cli.science.training import layer_randomness

    x, y = (values[:2] for values in next(iter(problem.train)))
    theta = problem.layout.flatten(dict(problem.module.named_parameters()))
    buffers = fresh_buffers(problem.module)
    hint = f"one input has the shape {found.input_shape}; --debug shows the place"
    with torch.no_grad(), layer_randomness(torch.Generator().manual_seed(0).get_state()):
        for training in (True, False):
            problem.module.train(training)
            with _translated(f"{model} and {what} do not fit", hint):
                outputs = problem.outputs(theta, buffers, x)
            if (kind := _no_tensor(outputs)) is not None:
                mode = "training" if training else "evaluation"
                way = "return the logits alone, as torchvision:googlenet(aux_logits=False) does"
                raise Refused(f"{model} gives {kind} in {mode} mode, no tensor", way)
        way = "it takes outputs and targets, and returns one value each: (N,)"
        with _translated(f"{loss} fails on outputs {tuple(outputs.shape)} and targets {tuple(y.shape)}", way):
            each = problem.loss(outputs, y)
    given = _no_tensor(each) or tuple(each.shape)
    if given != y.shape[:1]:
        raise Refused(f"{loss} gives {given} for {len(y)} examples", "it must return one value each: (N,)")
    if problem.classifies and (outputs.ndim != 2 or outputs.shape[1] < found.num_classes):
        raise Refused(f"{model} gives outputs {tuple(outputs.shape)} for {found.num_classes} classes")


def _no_tensor(value: object) -> str | None:
    """What a function of the user's gave instead of a tensor."""
    import torch

    return None if isinstance(value, torch.Tensor) else type(value).__name__


@contextmanager
def _translated(words: str, hint: str) -> Iterator[None]:
    """Errors of the user's code as one line.

    Raises:
        Refused: if there is one.
        OutOfMemoryError: as it is.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise Refused(f"{words}: {reason}", hint) from error


def _loss(name: str) -> Loss:
    from rashomon_cli.science import problem

    found: Loss = getattr(problem, LOSSES[name]) if name in LOSSES else imports.load(name)
    return found
