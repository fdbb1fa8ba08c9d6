"""Products of a network's curvature against one forward and backward pass of the same batch.

Usage: python tests/benchmarks/products.py [REPEATS] [cpu|cuda]

On a CPU the figures are seconds of one thread's own work (``time.process_time``): other programs count little;
on CUDA they are seconds of the wall clock. Contenders run in turn, medians are told.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rashomon_cli.science.problem import Layout, Point, Problem, cross_entropy, fresh_buffers
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.sources.batches import Batches
from rashomon_cli.sources.models.preresnet import preresnet20

BATCH = 128
BLOCK = 8
WARM_UP = 2
AIMS = {"hessian, graph kept": 2.5, f"hessian, a vector in a block of {BLOCK}": 2.2}


def contenders(problem: Problem, point: Point) -> dict[str, tuple[int, Callable[[], object]]]:
    """What is timed: the number of products, and the act."""
    x, y = next(iter(problem.train))
    module, total = problem.module, problem.layout.total
    vectors = torch.nn.functional.normalize(torch.randn(BLOCK, total), dim=1).to(point.theta)

    def pass_and_back() -> object:
        module.zero_grad(set_to_none=True)
        return nn.functional.cross_entropy(module(x), y).backward()

    def matrix(kind: str, memory: int) -> Curvature:
        return Curvature(problem, point, problem.train, kind, memory=memory)

    kept = {kind: matrix(kind, 2**40) for kind in ("hessian", "ggn", "fisher")}
    scratch = matrix("hessian", 0)
    found = {
        "forward + backward": (1, pass_and_back),
        "hessian, from scratch": (1, lambda: scratch(vectors[:1])),
        "hessian, graph kept": (1, lambda: kept["hessian"](vectors[:1])),
        f"hessian, a vector in a block of {BLOCK}": (BLOCK, lambda: scratch(vectors)),
        "ggn, graph kept": (1, lambda: kept["ggn"](vectors[:1])),
        "fisher, graph kept": (1, lambda: kept["fisher"](vectors[:1])),
    }
    theirs = doubled(problem, x, y, vectors[0])
    found["PyTorch's own double backward, from scratch"] = 1, lambda: theirs()()
    ready = theirs()
    found["PyTorch's own double backward, graph kept"] = 1, ready
    pushed = linearised(problem, point, x, y, vectors[0])
    found["torch.func.linearize, kept"] = 1, pushed
    check = {"double backward": ready(), "linearize": pushed()}
    for kind, one in kept.items():
        one(vectors[:1])
        print(f"{kind}: a graph holds {one.held / BATCH / 2**20:.1f} MiB an image")
    for name, other in check.items():
        difference = float((other - kept["hessian"](vectors[:1])[0]).norm() / other.norm())
        print(f"relative difference from {name}: {difference:.1e}")
    return found


def doubled(problem: Problem, x: Tensor, y: Tensor, vector: Tensor) -> Callable[[], Callable[[], Tensor]]:
    """Double backward as one writes it without this package: first the graph, then the product."""
    parameters = list(problem.module.parameters())
    steps = list(problem.layout.split(vector).values())

    def graph() -> Callable[[], Tensor]:
        loss = nn.functional.cross_entropy(problem.module(x), y)
        first = torch.autograd.grad(loss, parameters, create_graph=True)

        def product() -> Tensor:
            found = torch.autograd.grad(first, parameters, steps, retain_graph=True)
            return torch.cat([piece.reshape(-1) for piece in found])

        return product

    return graph


def linearised(problem: Problem, point: Point, x: Tensor, y: Tensor, vector: Tensor) -> Callable[[], Tensor]:
    """The gradient linearised once, forward over reverse."""
    parameters = {name: value.detach() for name, value in problem.module.named_parameters()}
    steps = problem.layout.split(vector)

    def loss(at: dict[str, Tensor]) -> Tensor:
        return nn.functional.cross_entropy(
            torch.func.functional_call(problem.module, (at, dict(point.buffers)), (x,)), y
        )

    _, push = torch.func.linearize(torch.func.grad(loss), parameters)
    return lambda: problem.layout.flatten(push(steps))


def time_products(repeats: int, device: str) -> None:
    """Print medians and ratios."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    module = preresnet20((3, 32, 32), 10).to(device, memory_format=torch.channels_last).eval()
    x, y = torch.randint(0, 256, (BATCH, 3, 32, 32), dtype=torch.uint8), torch.randint(0, 10, (BATCH,))
    batches = Batches(x.to(device), y.to(device), BATCH, (0.5,) * 3, (0.25,) * 3, BATCH)
    problem = Problem(module, Layout.of(module), cross_entropy, batches, batches)
    point = Point(problem.layout.flatten(dict(module.named_parameters())), fresh_buffers(module))
    clock = time.perf_counter if device == "cuda" else time.process_time
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    found = contenders(problem, point)
    times: dict[str, list[float]] = {name: [] for name in found}
    for turn in range(repeats + WARM_UP):
        names = list(found)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            count, act = found[name]
            act()  # untimed: what ran before has left it other memory
            wait()
            begun = clock()
            act()
            wait()
            times[name].append((clock() - begun) / count)
    medians = {name: statistics.median(each[WARM_UP:]) for name, each in times.items()}
    machine = torch.cuda.get_device_name() if device == "cuda" else "one thread's own work"
    print(f"PreResNet20, float32: medians of {repeats} turns with {BATCH} images, {machine}")
    for name, seconds in medians.items():
        ratio = seconds / medians["forward + backward"]
        aim = f"  aim: {AIMS[name]}" if name in AIMS else ""
        print(f"{1000 * seconds:8.1f} ms  {ratio:5.2f}  {name}{aim}")


if __name__ == "__main__":
    asked = sys.argv[1:]
    time_products(int(asked[0]) if asked else 15, asked[1] if len(asked) > 1 else "cpu")
