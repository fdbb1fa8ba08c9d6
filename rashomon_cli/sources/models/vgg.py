"""VGG16 for 32 × 32 images (Simonyan & Zisserman 2015, arXiv 1409.1556; the head of Garipov et al. 2018)."""

from __future__ import annotations

from torch import Tensor, nn

_STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))


class VGG16(nn.Module):
    """Thirteen 3 × 3 convolutions in five stages, pooled by two after each, and three linear layers with dropout.

    Args:
        input_shape: (channels, height, width); what is left of height and width after five poolings is averaged.
        num_classes: number of outputs.
        batch_norm: whether a BatchNorm follows each convolution.
        width: channels of the first stage; 64 is the published network (15.2 million parameters for ten classes).
    """

    def __init__(
        self, input_shape: tuple[int, int, int], num_classes: int, batch_norm: bool = False, width: int = 64
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width = {width}: at least 1")
        layers: list[nn.Module] = []
        channels = input_shape[0]
        for stage in _STAGES:
            for factor in stage:
                layers.append(nn.Conv2d(channels, factor * width, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(factor * width))
                layers.append(nn.ReLU())
                channels = factor * width
            # Rounded up, so that images smaller than 32 × 32 are not pooled away.
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            *(nn.Dropout(), nn.Linear(channels, channels), nn.ReLU()),
            *(nn.Dropout(), nn.Linear(channels, channels), nn.ReLU()),
            nn.Linear(channels, num_classes),
        )
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, C, H, W) to outputs (N, num_classes)."""
        outputs: Tensor = self.head(self.features(x).mean((2, 3)))
        return outputs


def vgg16(input_shape: tuple[int, int, int], num_classes: int, batch_norm: bool = False, width: int = 64) -> nn.Module:
    """Build a :class:`VGG16`."""
    return VGG16(input_shape, num_classes, batch_norm, width)
