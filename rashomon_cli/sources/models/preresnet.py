"""Pre-activation residual networks for 32 × 32 images (He et al. 2016, arXiv 1603.05027)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 4


class BasicBlock(nn.Module):
    """BN, ReLU, 3 × 3 convolution, twice, added to the input or to its 1 × 1 projection."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        projects = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        outputs: Tensor = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x)))))) + self.shortcut(x)
        return outputs


class Bottleneck(nn.Module):
    """BN, ReLU, convolution, thrice (1 × 1, 3 × 3, 1 × 1), added to the input or to its 1 × 1 projection.

    Args:
        inputs: channels that come in.
        outputs: channels that go out; the 3 × 3 convolution has a quarter of them.
        stride: of the 3 × 3 convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // EXPANSION
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        projects = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if projects else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        narrow = self.conv2(F.relu(self.bn2(self.conv1(F.relu(self.bn1(x))))))
        outputs: Tensor = self.conv3(F.relu(self.bn3(narrow))) + self.shortcut(x)
        return outputs


class PreResNet(nn.Module):
    """Three stages of residual blocks with ``width``, 2 and 4 times ``width`` channels, four times that of bottlenecks.

    Args:
        input_shape: (channels, height, width).
        num_classes: number of outputs.
        depth: for n blocks a stage, 6n + 2 layers of basic blocks or 9n + 2 of bottlenecks.
        width: channels of the first stage; 16 is the published network (about 270,000 parameters at depth 20).
        bottleneck: whether blocks are bottlenecks.
    """

    def __init__(
        self,
        input_shape: tuple[int, int, int],
        num_classes: int,
        depth: int,
        width: int = 16,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        layers = 9 if bottleneck else 6
        if depth < layers + 2 or (depth - 2) % layers:
            raise ValueError(f"depth = {depth} is not {layers}n + 2 with n ≥ 1")
        if width < 1:
            raise ValueError(f"width = {width}: at least 1")
        self.conv = nn.Conv2d(input_shape[0], width, 3, padding=1, bias=False)
        kind, expansion = (Bottleneck, EXPANSION) if bottleneck else (BasicBlock, 1)
        blocks: list[nn.Module] = []
        channels = width
        for stage, outputs in enumerate((expansion * width, 2 * expansion * width, 4 * expansion * width)):
            for block in range((depth - 2) // layers):
                blocks.append(kind(channels, outputs, 2 if stage and not block else 1))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.bn = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to outputs (N, num_classes)."""
        outputs: Tensor = self.head(F.relu(self.bn(self.blocks(self.conv(x)))).mean((2, 3)))
        return outputs


def preresnet8(input_shape: tuple[int, int, int], num_classes: int, width: int = 16) -> nn.Module:
    """Build a :class:`PreResNet` of depth 8."""
    return PreResNet(input_shape, num_classes, 8, width)


def preresnet20(input_shape: tuple[int, int, int], num_classes: int, width: int = 16) -> nn.Module:
    """Build a :class:`PreResNet` of depth 20."""
    return PreResNet(input_shape, num_classes, 20, width)


def preresnet56(input_shape: tuple[int, int, int], num_classes: int, width: int = 16) -> nn.Module:
    """Build a :class:`PreResNet` of depth 56."""
    return PreResNet(input_shape, num_classes, 56, width)


def preresnet110(input_shape: tuple[int, int, int], num_classes: int, width: int = 16) -> nn.Module:
    """Build a :class:`PreResNet` of depth 110."""
    return PreResNet(input_shape, num_classes, 110, width)


def preresnet164(input_shape: tuple[int, int, int], num_classes: int, width: int = 16) -> nn.Module:
    """Build a :class:`PreResNet` of depth 164, of bottlenecks."""
    return PreResNet(input_shape, num_classes, 164, width, bottleneck=True)
