"""Batches of tensors from arrays: held as they are (uint8 images stay uint8), cast and normalised a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rashomon_cli.core.results import Array
from rashomon_cli.core.seeds import derive

PAD = 4


def cuts(count: int, size: int) -> list[slice]:
    """Slices of up to ``size``; a single example left over joins the slice before it: BatchNorm needs two."""
    starts = list(range(0, count, size))
    if len(starts) > 1 and count - starts[-1] == 1:
        starts.pop()
    return [slice(low, high) for low, high in zip(starts, [*starts[1:], count], strict=True)]


@dataclass(frozen=True)
class Batches:
    """Examples in a fixed order, in batches; iterates as often as asked.

    Attributes:
        x: inputs (N, …) on the device that computes.
        y: targets (N,) or (N, k).
        batch_size: examples a batch; the last one may be smaller, or larger by one.
        mean: per channel, subtracted from images; None for other data.
        std: per channel, divided by.
        population: number of examples that these are drawn from (N where these are all).
        dtype: type of the inputs that are handed out.
        order: rows of ``x`` in the order of the batches; None for all as they lie.
    """

    x: Tensor
    y: Tensor
    batch_size: int = 500
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    population: int = 0
    dtype: torch.dtype = torch.float32
    order: Tensor | None = None

    @property
    def count(self) -> int:
        """Number of examples."""
        return len(self.x) if self.order is None else len(self.order)

    @property
    def steps(self) -> int:
        """Number of batches."""
        return len(cuts(self.count, self.batch_size))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (B, …) of ``dtype`` and their targets."""
        for part in cuts(self.count, self.batch_size):
            rows = part if self.order is None else self.order[part]
            yield self.prepare(self.x[rows]), self.y[rows]

    def prepare(self, x: Tensor) -> Tensor:
        """Cast and normalise inputs; images come out channels-last, which convolutions prefer."""
        if self.mean is not None and self.std is not None:
            shape = (1, -1, *[1] * (x.ndim - 2))
            mean = torch.tensor(self.mean, dtype=self.dtype, device=x.device).view(shape)
            std = torch.tensor(self.std, dtype=self.dtype, device=x.device).view(shape)
            x = (x.to(self.dtype) / 255 - mean) / std
        elif x.is_floating_point():
            x = x.to(self.dtype)
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x

    def sample(self, count: int | None, seed: int, purpose: str = "sample", *, skip: int = 0) -> Batches:
        """A simple random sample without replacement, in random order; the same for the same seed.

        The order matters: files lie class by class, while BatchNorm and the spread between batches need batches that
        are alike.

        Args:
            count: number of examples; all where None or larger than there are.
            seed: of the choice.
            purpose: other purposes give other samples.
            skip: number of examples of the same order that are passed over: a sample of so many for the same seed and
                purpose shares none with this one.

        Returns:
            The examples; no data are copied.
        """
        chooser = torch.Generator().manual_seed(derive(seed, purpose))
        order = torch.randperm(len(self.x), generator=chooser)
        return replace(self, order=order[skip : len(self.x) if count is None else skip + count].to(self.x.device))


def batches(
    x: Array,
    y: Array,
    *,
    device: torch.device,
    statistics: tuple[Sequence[float], Sequence[float]] | None,
    batch_size: int = 500,
    dtype: torch.dtype = torch.float32,
) -> Batches:
    """Put arrays on a device.

    Args:
        x: inputs (N, …).
        y: targets.
        device: where they are held.
        statistics: mean and standard deviation of each channel, for images.
        batch_size: examples a batch.
        dtype: type of the inputs that are handed out.

    Returns:
        The batches.
    """
    targets = torch.from_numpy(y).to(device)
    targets = targets.to(dtype) if targets.is_floating_point() else targets.long()
    mean, std = (tuple(statistics[0]), tuple(statistics[1])) if statistics else (None, None)
    return Batches(torch.from_numpy(x).to(device), targets, batch_size, mean, std, len(x), dtype)


@dataclass(frozen=True)
class Stream:
    """Shuffled and augmented training batches; an epoch's are determined by (seed, epoch).

    Attributes:
        source: the examples; its batch size is that of training.
        seed: the run's seed.
        augmentation: ``crop-flip`` (shifts by up to 4 pixels, border reflected, random mirror) or ``none``.
    """

    source: Batches
    seed: int
    augmentation: str = "none"

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(cuts(self.source.count, self.source.batch_size))

    def __call__(self, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches of an epoch."""
        chooser = torch.Generator().manual_seed(derive(self.seed, "batches", epoch))
        order = torch.randperm(self.source.count, generator=chooser)
        for part in cuts(len(order), self.source.batch_size):
            chosen = order[part].to(self.source.x.device)
            x = self.source.x[chosen]
            if self.augmentation == "crop-flip":
                x = crop_flip(x, chooser)
            yield self.source.prepare(x), self.source.y[chosen]


def crop_flip(x: Tensor, chooser: torch.Generator) -> Tensor:
    """Shift each image by up to 4 pixels, its border reflected, and mirror half of them; no loop over images.

    A border of one colour would put into every batch of training what no un-augmented image has.

    Args:
        x: images (N, C, H, W).
        chooser: source of the random numbers, on the CPU.

    Returns:
        Images of the same shape and type.
    """
    count, _, height, width = x.shape
    down, right = (torch.randint(-PAD, PAD + 1, (count, 1), generator=chooser) for _ in range(2))
    mirror = torch.rand(count, 1, generator=chooser) < 0.5
    ahead = torch.arange(width).expand(count, width)
    rows = _reflected(down + torch.arange(height), height).to(x.device)
    columns = _reflected(right + torch.where(mirror, width - 1 - ahead, ahead), width).to(x.device)
    image = torch.arange(count, device=x.device)
    # Indices around a slice put the channels last: (N, H, W, C).
    return x[image[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Indices outside [0, size) reflected at the first and last pixel."""
    period = max(2 * (size - 1), 1)
    folded = index % period
    return torch.where(folded < size, folded, period - folded)


def fit_images(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Resize images and put them into other channels, for a model that was trained on others.

    Args:
        x: uint8 images (N, C, H, W).
        shape: (channels, height, width) wanted.

    Returns:
        Float images (N, *shape) in [0, 255]; bilinear with antialiasing; grey is the mean of the channels.
    """
    found = x.float()
    if found.shape[1] != shape[0]:
        found = found.mean(1, keepdim=True).expand(-1, shape[0], -1, -1)
    if tuple(found.shape[2:]) != tuple(shape[1:]):
        found = F.interpolate(found, size=tuple(shape[1:]), mode="bilinear", antialias=True, align_corners=False)
    return found.clamp(0, 255).contiguous()
