"""Products that the top ten eigenpairs take, and the error of a trace at 60 products.

Usage: python tests/benchmarks/spectra.py [SEEDS]

On a spectrum like that of a large network's Hessian, which is stated below, and on the Hessian of a small network that
is trained here on 500 of scikit-learn's digits. Both spectra are known whole. `eigsh` alone gives no residuals: they
take ten products more.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import torch
from scipy.fft import dct, idct
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.datasets import load_digits
from torch import Tensor

from rashomon_cli.science.problem import Layout, Point, Problem, cross_entropy
from rashomon_cli.science.spectra.curvatures import Curvature
from rashomon_cli.science.spectra.matrices import Dense, Matrix
from rashomon_cli.science.spectra.pairs import extreme
from rashomon_cli.science.spectra.traces import hutchinson, xtrace
from rashomon_cli.sources.batches import Batches
from rashomon_cli.sources.models.mlp import mlp

TOP, BOTTOM, MATVECS = 10, 3, 60
IMAGES, EPOCHS = 500, 15


class Stated:
    """A matrix of 10,000 eigenvalues: ten from 30 to 3, a bulk that crowds at 0, a negative edge.

    Its eigenvectors are cosines with random signs: no estimator is helped by a matrix that is nearly diagonal.
    """

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        bulk, edge = 3 * rng.beta(0.02, 4, 9_940), -0.5 * rng.beta(0.5, 3, 50)
        self.values = torch.from_numpy(np.concatenate([np.geomspace(30, 3, TOP), bulk, edge]))
        self.signs = rng.choice([-1.0, 1.0], self.size)
        self.like, self.matvecs = torch.empty(0, dtype=torch.float64), 0

    @property
    def size(self) -> int:
        """n."""
        return len(self.values)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Products with rows."""
        self.matvecs += len(vectors)
        turned = dct(vectors.numpy() * self.signs, norm="ortho", axis=1) * self.values.numpy()
        return torch.from_numpy(idct(turned, norm="ortho", axis=1) * self.signs)


def digits_hessian() -> Dense:
    """The Hessian, written out in float64, of an MLP of 1,210 parameters after 15 epochs of SGD."""
    found = load_digits()
    x, y = torch.from_numpy(found.data[:IMAGES] / 16 - 0.3), torch.from_numpy(found.target[:IMAGES])
    torch.manual_seed(0)
    module = mlp((64,), 10, width=16, depth=1).double()
    optimiser = torch.optim.SGD(module.parameters(), 0.1, 0.9)
    for _ in range(EPOCHS):
        for batch in torch.randperm(IMAGES).split(64):
            optimiser.zero_grad()
            cross_entropy(module(x[batch]), y[batch]).mean().backward()
            optimiser.step()
    data = Batches(x, y, IMAGES, population=IMAGES, dtype=torch.float64)
    problem = Problem(module, Layout.of(module), cross_entropy, data, data)
    theta = problem.layout.flatten(dict(module.named_parameters()))
    hessian = Curvature(problem, Point(theta, {}), data)
    return Dense(hessian(torch.eye(hessian.size, dtype=torch.float64)))


def plain(matrix: Matrix, tolerance: float, seed: int) -> tuple[int, np.ndarray]:
    """The top by `eigsh` as one calls it: products, and eigenvalues from the largest on."""
    before = matrix.matvecs
    operator = LinearOperator(
        (matrix.size,) * 2, matvec=lambda v: matrix(torch.from_numpy(v.reshape(1, -1).copy()))[0].numpy(), dtype=float
    )
    start = np.random.default_rng(seed).standard_normal(matrix.size)
    values = eigsh(operator, TOP, which="LA", tol=tolerance, v0=start, return_eigenvectors=False)
    return matrix.matvecs - before, np.sort(values)[::-1]


def compare(name: str, matrix: Matrix, values: np.ndarray, seeds: int) -> None:
    """Print what each way takes, and how far it is off."""
    top, bottom = np.sort(values)[::-1][:TOP], np.sort(values)[:BOTTOM]
    print(f"{name}: n = {matrix.size:,}, top {top[0]:.3g} to {top[-1]:.3g}, then {np.sort(values)[-TOP - 1]:.3g};")
    print(f"  bottom {bottom[0]:.3g}, trace {values.sum():.4g}; medians (largest) over {seeds} seeds")

    def line(words: str, spent: list[int], off: list[float]) -> None:
        print(
            f"  {words:50}{np.median(spent):5.0f} ({max(spent)}) products, off by {np.median(off):.0e} ({max(off):.0e})"
        )

    for tolerance in (0.0, 1e-2):
        found = [plain(matrix, tolerance, seed) for seed in range(seeds)]
        off = [np.abs(values / top - 1).max() for _, values in found]
        line(f"eigsh, tol = {tolerance:g}, no residuals: top {TOP}", [spent for spent, _ in found], off)
    for count, check in ((0, False), (0, True), (BOTTOM, True)):
        pairs = [extreme(matrix, TOP, count, check=check, seed=seed) for seed in range(seeds)]
        ends = np.concatenate([top, bottom[:count]])
        off = [np.abs(np.concatenate([p.top.values, p.bottom.values]) / ends - 1).max() for p in pairs]
        words = f"extreme: top {TOP}" + f", bottom {count}" * (count > 0) + ", checked" * check
        line(words, [p.matvecs for p in pairs], off)
    for method in (hutchinson, xtrace):
        traces = [method(matrix, MATVECS, seed=seed).trace for seed in range(seeds)]
        rms = math.sqrt(np.mean([(t.value / values.sum() - 1) ** 2 for t in traces]))
        claimed = math.sqrt(np.mean([(t.stderr / values.sum()) ** 2 for t in traces]))
        print(
            f"  {method.__name__} at {MATVECS} products: error {100 * rms:.2f} %, standard error {100 * claimed:.2f} %"
        )


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    stated = Stated()
    compare("stated spectrum", stated, stated.values.numpy(), count)
    hessian = digits_hessian()
    compare("MLP on digits", hessian, torch.linalg.eigvalsh(hessian.matrix).numpy(), count)
