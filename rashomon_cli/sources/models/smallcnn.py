"""A small convolutional network with BatchNorm, for small images and quick experiments."""

from __future__ import annotations

from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Three blocks of convolution, BatchNorm and ReLU, with average pooling after each of the first two.

    Args:
        input_shape: (channels, height, width); at least 4 × 4.
        num_classes: number of outputs.
        width: channels of the first block; doubled after each pooling.
        batch_norm: whether the blocks have BatchNorm.
    """

    def __init__(
        self, input_shape: tuple[int, int, int], num_classes: int, width: int = 16, batch_norm: bool = True
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width = {width}: at least 1")
        layers: list[nn.Module] = []
        channels = input_shape[0]
        for stage, outputs in enumerate((width, 2 * width, 4 * width)):
            layers.append(nn.Conv2d(channels, outputs, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(outputs))
            layers.append(nn.ReLU())
            if stage < 2:
                layers.append(nn.AvgPool2d(2))
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to outputs (N, num_classes)."""
        outputs: Tensor = self.head(self.features(x).mean((2, 3)))
        return outputs


def smallcnn(
    input_shape: tuple[int, int, int], num_classes: int, width: int = 16, batch_norm: bool = True
) -> nn.Module:
    """Build a :class:`SmallCNN`."""
    return SmallCNN(input_shape, num_classes, width, batch_norm)
