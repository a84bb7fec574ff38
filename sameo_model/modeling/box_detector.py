"""A small detector of things: one stage, without anchors and classes.

For each object it predicts the box of its visible part, the box of the whole object, and how well
the visible box fits. The shape is that of FCOS (Tian et al. 2019) with the two-way pyramid of PANet
(Liu et al. 2018) from depthwise 5x5 convolutions, as in PicoDet (Yu et al. 2021). Fit is scored by
two numbers, as in OLN (Kim et al. 2022): whether an object is there, which unlabelled objects
disturb, and the IoU of the box, which is learned on labelled objects alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.lite_encoder import TAPPED_CHANNELS, ConvNorm, EfficientNetLite0
from sameo_model.runtime.bundle import DETECTOR_STRIDES

BOX_DETECTOR = "box_detector"
IMAGE_SIZE = 512
STRIDES = DETECTOR_STRIDES
WIDTH = 96
# EfficientNet-Lite was trained on (value - 127) / 128 of values 0 to 255.
CENTRE, SCALE = 127.0, 128.0
# Of the boxes that an untrained head predicts: they reach 4 strides to every side.
START_REACH = 4.0
START_SCORE = 0.01
MAX_LOG_REACH = 5.0
# Of neck and heads, which learn from random weights; the backbone keeps its own, which is lower.
NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class BoxPredictions:
    """What the network says for each of its A cells, finest stride first, row by row.

    Attributes:
        object_logits: float32 (B, A), whether the cell lies on an object.
        iou_logits: float32 (B, A), IoU of the visible box with the true one.
        visible_xyxy: float32 (B, A, 4), visible boxes, pixels of the input, not clipped.
        amodal_xyxy: float32 (B, A, 4), whole boxes; each contains its visible box.
    """

    object_logits: Tensor
    iou_logits: Tensor
    visible_xyxy: Tensor
    amodal_xyxy: Tensor

    def scores(self) -> Tensor:
        """Return float32 (B, A) in [0, 1]: geometric mean of both estimates."""
        return (self.object_logits.sigmoid() * self.iou_logits.sigmoid()).sqrt()


class SeparableBlock(nn.Sequential):
    """A depthwise 5x5 and a pointwise convolution, both normalised and activated."""

    def __init__(self, channels: int) -> None:
        super().__init__(
            ConvNorm(channels, channels, 5, groups=channels), ConvNorm(channels, channels)
        )


class PyramidNeck(nn.Module):
    """Exchange features between strides 8, 16 and 32: downwards and upwards."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(ConvNorm(channels, width) for channels in TAPPED_CHANNELS[-3:])
        self.top_down = nn.ModuleList(SeparableBlock(width) for _ in range(2))
        self.shrink = nn.ModuleList(
            ConvNorm(width, width, 5, stride=2, groups=width) for _ in range(2)
        )
        self.bottom_up = nn.ModuleList(SeparableBlock(width) for _ in range(2))

    def forward(self, tapped: list[Tensor]) -> list[Tensor]:
        """Return three maps (B, width, S / stride, S / stride) of the features of these strides."""
        fine, middle, coarse = (
            layer(features) for layer, features in zip(self.lateral, tapped, strict=True)
        )
        middle = self.top_down[0](middle + F.interpolate(coarse, scale_factor=2.0))
        fine = self.top_down[1](fine + F.interpolate(middle, scale_factor=2.0))
        middle = self.bottom_up[0](middle + self.shrink[0](fine))
        coarse = self.bottom_up[1](coarse + self.shrink[1](middle))
        return [fine, middle, coarse]


class DetectorEncoder(nn.Module):
    """EfficientNet-Lite0 and the pyramid."""

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.backbone = EfficientNetLite0()
        self.neck = PyramidNeck(width)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features at strides 8, 16 and 32 of normalised images (B, 3, H, W)."""
        return self.neck(self.backbone(images)[-3:])


class LevelHead(nn.Module):
    """Ten numbers for each cell of one stride: object, IoU, four reaches, four extensions."""

    def __init__(self, width: int) -> None:
        """Build the layers with random weights; the first boxes are squares with low scores."""
        super().__init__()
        self.blocks = nn.Sequential(SeparableBlock(width), SeparableBlock(width))
        self.output = nn.Conv2d(width, 10, kernel_size=1)
        nn.init.normal_(self.output.weight, std=0.01)
        start = [-math.log(1 / START_SCORE - 1), 0.0, *[math.log(START_REACH)] * 4, *[-3.0] * 4]
        self.output.bias = nn.Parameter(torch.tensor(start))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, h, w) to (B, h * w, 10)."""
        return self.output(self.blocks(features)).flatten(2).transpose(1, 2)


class BoxDetector(nn.Module):
    """Finds things in a whole image that was squashed to a square."""

    preset = BOX_DETECTOR

    def __init__(self, image_size: int = IMAGE_SIZE) -> None:
        """Build the network with random weights.

        Args:
            image_size: Side of the square input when it is used, pixels, a multiple of 32.

        Raises:
            ValueError: If the side is not such a number.
        """
        super().__init__()
        if image_size <= 0 or image_size % STRIDES[-1]:
            raise ValueError(
                f"image_size of {BOX_DETECTOR} must be a positive multiple of {STRIDES[-1]}, "
                f"got {image_size}"
            )
        self.image_size = image_size
        self.image_encoder = DetectorEncoder()
        self.box_head = nn.ModuleList(LevelHead(WIDTH) for _ in STRIDES)
        for module in (*self.image_encoder.neck.modules(), *self.box_head.modules()):
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = NORM_MOMENTUM

    def forward(self, images: Tensor) -> BoxPredictions:
        """Predict the boxes of every cell.

        Args:
            images: uint8 or float32 (B, 3, H, W), RGB, 0 to 255; H and W multiples of 32.
        """
        levels = self.image_encoder((images.float() - CENTRE) / SCALE)
        cells = [head(features) for head, features in zip(self.box_head, levels, strict=True)]
        raw = torch.cat(cells, dim=1).float()
        centres, strides = cell_grid(images.shape[-2], images.shape[-1], raw.device)
        reach = raw[..., 2:6].clamp(max=MAX_LOG_REACH).exp() * strides
        extension = F.softplus(raw[..., 6:]) * strides
        return BoxPredictions(
            raw[..., 0],
            raw[..., 1],
            _box(centres, reach),
            _box(centres, reach + extension),
        )


def cell_grid(height: int, width: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return the centres and strides of all cells of an input, finest stride first, row by row.

    Args:
        height: Of the input, pixels, a multiple of 32.
        width: The same.
        device: Where to put them.

    Returns:
        float32 (A, 2), x, y in pixels, and float32 (A, 1), pixels.
    """
    centres, strides = [], []
    for stride in STRIDES:
        ys = (torch.arange(height // stride, device=device) + 0.5) * stride
        xs = (torch.arange(width // stride, device=device) + 0.5) * stride
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
        centres.append(torch.stack((grid_x, grid_y), dim=-1).reshape(-1, 2))
        strides.append(torch.full((len(ys) * len(xs), 1), float(stride), device=device))
    return torch.cat(centres), torch.cat(strides)


def _box(centres: Tensor, reach: Tensor) -> Tensor:
    return torch.cat((centres - reach[..., :2], centres + reach[..., 2:]), dim=-1)
