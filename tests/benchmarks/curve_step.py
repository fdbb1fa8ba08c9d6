"""A step of training a curve against one of training its network.

Usage: python tests/benchmarks/curve_step.py [REPEATS] [cpu|cuda]
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from rashomon_cli.operations.connect import ConnectConfig, steps
from rashomon_cli.operations.states import use_bf16
from rashomon_cli.science import curves, paths, training
from rashomon_cli.science.problem import Layout, Problem, cross_entropy, fresh_buffers
from rashomon_cli.sources.batches import Batches
from rashomon_cli.sources.models.preresnet import preresnet20

BATCH = 128
WARM_UP = 3
BENDS = (1, 3)
POINTS = 61
CIFAR10 = {"train_count": 50_000, "test_count": 10_000}


class Clock:
    """Hands out the same batch, and keeps the time from there to the end of the step."""

    def __init__(self, batch: tuple[Tensor, Tensor]) -> None:
        self.batch = batch
        self.wait = torch.cuda.synchronize if batch[0].is_cuda else lambda: None
        self.begun = 0.0
        self.times: list[float] = []

    def stream(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One batch an epoch."""
        self.wait()
        self.begun = time.perf_counter()
        yield self.batch

    def tick(self, loss: float | None = None) -> None:
        """The step is done."""
        self.wait()
        self.times.append(time.perf_counter() - self.begun)

    @property
    def median(self) -> float:
        """Seconds a step, without those of warming up."""
        return statistics.median(self.times[WARM_UP:])


def network(seed: int) -> nn.Module:
    """A PreResNet20 for CIFAR-10."""
    torch.manual_seed(seed)
    return preresnet20((3, 32, 32), 10)


def plain(clock: Clock, bf16: bool) -> Iterator[None]:
    """Steps as one writes them without this package."""
    device = clock.batch[0].device
    module = network(0).to(device, memory_format=torch.channels_last).train()
    optimiser = torch.optim.SGD(module.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
    while True:
        for x, y in clock.stream(0):
            optimiser.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                outputs = module(x)
            loss = nn.functional.cross_entropy(outputs.float(), y)
            loss.backward()
            optimiser.step()
            clock.tick(loss.item())
        yield


def contenders(batches: Batches, bf16: bool, repeats: int) -> dict[str, tuple[Clock, Iterator[object]]]:
    """What is timed: a clock each, and an iterator that does one step at a time."""
    module = network(0).to(batches.x.device)
    problem = Problem(module, Layout.of(module), cross_entropy, batches, batches)
    ends = [problem.layout.flatten(dict(network(seed).to(batches.x.device).named_parameters())) for seed in (1, 2)]
    cfg = training.SGD(repeats + WARM_UP, 0.01, schedule="constant", bf16=bf16)
    batch = next(iter(batches))
    found: dict[str, tuple[Clock, Iterator[object]]] = {}

    def enter(name: str, act: Callable[[Clock], Iterator[object]]) -> None:
        clock = Clock(batch)
        found[name] = clock, act(clock)

    def model(clock: Clock) -> Iterator[object]:
        state = training.TrainState(0, ends[0], None, fresh_buffers(module))
        return training.train(problem, clock.stream, 1, cfg, state, tick=clock.tick)

    def curve(clock: Clock, kind: str, bends: int) -> Iterator[object]:
        path = paths.line(*ends, bends, kind)
        state = training.TrainState(0, path.points[1:-1], None, fresh_buffers(module))
        return curves.fit(problem, path, clock.stream, 1, cfg, state, clock.tick)

    enter("plain PyTorch", lambda clock: plain(clock, bf16))
    enter("train", model)
    for kind in paths.KINDS:
        for bends in BENDS:
            enter(f"{kind}, {bends} bends", lambda clock, kind=kind, bends=bends: curve(clock, kind, bends))
    return found


def time_steps(repeats: int, device: str) -> None:
    """Print medians and ratios, the contenders' steps taken in turn."""
    torch.manual_seed(0)
    x, y = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (BATCH,))
    batches = Batches(x.to(device), y.to(device), BATCH, (0.5,) * 3, (0.25,) * 3, BATCH)
    for bf16 in (False, True) if use_bf16("auto", device) else (False,):
        found = contenders(batches, bf16, repeats)
        for turn in range(repeats + WARM_UP):
            order = list(found.values())
            for _, act in order[turn % len(order) :] + order[: turn % len(order)]:
                next(act)
        machine = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"{'bf16' if bf16 else 'float32'}: medians of {repeats} steps of {BATCH}, {machine}")
        base = {name: found[name][0].median for name in ("train", "plain PyTorch")}
        for name, (clock, _) in found.items():
            ratios = "".join(f"  {clock.median / seconds:5.3f} of {other}" for other, seconds in base.items())
            print(f"{1000 * clock.median:8.1f} ms  {name:18}{ratios}")


def count_passes() -> None:
    """Print what evaluating a curve takes, and how exact it is, beside the usual way: all data at every point."""
    config = ConnectConfig(a="a", b="b", points=POINTS)
    evaluating = sum(step.forward_passes for step in steps(config, CIFAR10)[-2:])
    train, test = (min(int(config.samples), count) for count in CIFAR10.values())
    curve = POINTS * (2 * train + test)
    usual = POINTS * (2 * CIFAR10["train_count"] + CIFAR10["test_count"])
    assert evaluating == (2 * POINTS - 2) * (2 * train + test)
    print(f"{POINTS} points, forward passes: {curve:,} for the curve ({evaluating:,} with the line beside it)")
    print(f"the usual way: {usual:,} for the curve; {usual / curve:.1f} times as many")
    for name, n, count in zip(("train", "test"), (train, test), CIFAR10.values()):
        factor = math.sqrt((1 - n / count) / n)
        error = 100 * math.sqrt(0.06 * 0.94) * factor
        print(f"{name}: standard error {factor:.4f} of the spread between examples; {error:.2f} points at 6 % error")


if __name__ == "__main__":
    asked = sys.argv[1:]
    time_steps(int(asked[0]) if asked else 30, asked[1] if len(asked) > 1 else "cpu")
    count_passes()
