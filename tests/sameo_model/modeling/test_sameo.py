"""Encoding and decoding: shapes, sharing between boxes and images, padding, errors."""

import re

import pytest
import torch
from torch.nn import functional as F

from sameo_model.modeling import Sameo, build_sameo
from sameo_model.modeling.lite_encoder import Pyramid
from sameo_model.modeling.sameo import Features, averaging_matrix, smooth_hidden_part

HW = (48, 80)
BOXES = torch.tensor([[5.0, 6.0, 40.0, 30.0], [10.0, 0.0, 79.0, 47.0], [50.0, 20.0, 70.0, 40.0]])


@pytest.fixture(scope="module", params=["efficient_sam_vitt", "sameo_lite"])
def model(request: pytest.FixtureRequest) -> Sameo:
    torch.manual_seed(1)
    model = build_sameo(request.param, 64, visible_decoder=True)
    if model.shares_decoder:
        # Fresh filters of the finest detail are zero.
        for value in model.mask_decoder.fine_filters.parameters():
            torch.nn.init.normal_(value, std=0.1)
    return model


@pytest.fixture(scope="module")
def two_decoders() -> Sameo:
    torch.manual_seed(1)
    return build_sameo("efficient_sam_vitt", 64, visible_decoder=True)


@pytest.fixture(scope="module")
def embeddings(model: Sameo) -> Features:
    return encode(model, torch.rand(2, 3, *HW))


@torch.no_grad()
def encode(model: Sameo, images: torch.Tensor) -> Features:
    return model.encode(images)


def one_image(features: Features, row: int) -> Features:
    if isinstance(features, Pyramid):
        return Pyramid(*(part[row : row + 1] for part in features))
    return features[row : row + 1]


def corners_and_labels(boxes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    points = boxes.unflatten(-1, (2, 2))
    return points, torch.tensor([2, 3]).expand(points.shape[:3])


@pytest.mark.parametrize(
    ("preset", "size", "side"),
    [("efficient_sam_vitt", 768, 192), ("efficient_sam_vitt", 96, 24), ("sameo_lite", 96, 48)],
)
def test_shapes_follow_from_the_image_size(preset, size, side):
    model = build_sameo(preset, size)
    with torch.no_grad():
        features = model.encode(torch.rand(1, 3, 30, 50))
        points, labels = corners_and_labels(torch.tensor([[[1.0, 2.0, 20.0, 25.0]]]))
        logits, iou = model.decode(features, points, labels, (30, 50))
    embedding = features.embedding if isinstance(features, Pyramid) else features
    assert embedding.shape == (1, 256, size // 16, size // 16)
    assert logits.shape == (1, 1, 3, side, side)
    assert iou.shape == (1, 1, 3)
    assert logits.isfinite().all()


def test_images_of_the_models_size_are_not_resampled(model):
    images = torch.rand(1, 3, 64, 64)
    expected = model.image_encoder((images - model.pixel_mean) / model.pixel_deviation)
    torch.testing.assert_close(model.encode(images), expected)


def test_boxes_and_images_do_not_influence_each_other(model, embeddings):
    boxes = torch.stack((BOXES, BOXES.flip(0)))
    with torch.no_grad():
        logits, iou = model.decode_boxes(embeddings, boxes, HW)
        for image in range(2):
            for box in range(3):
                one = boxes[image : image + 1, box : box + 1]
                alone, alone_iou = model.decode_boxes(one_image(embeddings, image), one, HW)
                torch.testing.assert_close(alone[0, 0], logits[image, box], atol=1e-5, rtol=1e-4)
                torch.testing.assert_close(alone_iou[0, 0], iou[image, box])


def test_no_boxes_give_no_masks(model, embeddings):
    logits, iou = model.decode_boxes(embeddings, torch.zeros(2, 0, 4), HW)
    side = 32 if model.shares_decoder else 16
    assert logits.shape == (2, 0, side, side)
    assert iou.shape == (2, 0)


def test_points_are_padded_to_six_with_label_minus_one(model, embeddings):
    points, labels = corners_and_labels(BOXES[None].expand(2, -1, -1))
    padded = torch.cat((points, torch.full((2, 3, 4, 2), -1.0)), dim=2)
    padded_labels = torch.cat((labels, torch.full((2, 3, 4), -1)), dim=2)
    with torch.no_grad():
        expected = model.decode(embeddings, padded, padded_labels, HW)[0]
        actual = model.decode(embeddings, points, labels, HW)[0]
    torch.testing.assert_close(actual, expected)


def test_points_are_scaled_per_axis(model, embeddings):
    points, labels = corners_and_labels(BOXES[None].expand(2, -1, -1))
    # 80 x 48 pixels squashed to 64 x 64.
    in_model_pixels = points * torch.tensor([64 / 80, 64 / 48])
    with torch.no_grad():
        expected = model.decode(embeddings, in_model_pixels, labels, (64, 64))[0]
        actual = model.decode(embeddings, points, labels, HW)[0]
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)


def test_any_negative_coordinate_is_taken_as_minus_one(model, embeddings):
    labels = torch.tensor([2, 3]).expand(1, 1, 2)
    with torch.no_grad():
        masks = [
            model.decode(
                one_image(embeddings, 0),
                torch.tensor([[[[x, 5.0], [40.0, 30.0]]]]),
                labels,
                (64, 64),
            )[0]
            for x in (-1.0, -300.0, 0.0)
        ]
    torch.testing.assert_close(masks[0], masks[1])
    assert not torch.allclose(masks[0], masks[2])


@pytest.mark.parametrize(
    ("selection", "choose"),
    [
        ("token0", lambda single, multi, iou: single[:, :, 0]),
        ("all", lambda single, multi, iou: multi[:, :, 0]),
        ("min_loss", lambda single, multi, iou: pick(multi, iou)),
        ("best_predicted", lambda single, multi, iou: pick(multi, iou)),
    ],
)
@pytest.mark.parametrize("decoder", ["amodal", "visible"])
def test_one_mask_per_box_is_read_out_as_it_was_trained(two_decoders, selection, choose, decoder):
    model, embeddings = two_decoders, encode(two_decoders, torch.rand(2, 3, *HW))
    boxes = BOXES[None].expand(2, -1, -1)
    points, labels = corners_and_labels(boxes)
    attribute = "mask_selection" if decoder == "amodal" else "visible_mask_selection"
    setattr(model, attribute, selection)
    try:
        with torch.no_grad():
            multi, iou = model.decode(embeddings, points, labels, HW, kind=decoder)
            single, _ = model.decode(embeddings, points, labels, HW, False, decoder)
            actual, actual_iou = model.decode_boxes(embeddings, boxes, HW, decoder)
    finally:
        setattr(model, attribute, "min_loss")
    torch.testing.assert_close(actual, choose(single, multi, iou))
    assert ((actual_iou >= 0) & (actual_iou <= 1)).all()


def pick(masks: torch.Tensor, iou: torch.Tensor) -> torch.Tensor:
    rows = [[masks[b, n, iou[b, n].argmax()] for n in range(3)] for b in range(2)]
    return torch.stack([torch.stack(row) for row in rows])


def test_whole_and_visible_masks_differ(model, embeddings):
    boxes = BOXES[None].expand(2, -1, -1)
    with torch.no_grad():
        amodal = model.decode_boxes(embeddings, boxes, HW)[0]
        visible = model.decode_boxes(embeddings, boxes, HW, "visible")[0]
    assert not torch.allclose(amodal, visible)


def test_both_masks_of_a_box_are_those_of_each_alone(model, embeddings):
    boxes = BOXES[None].expand(2, -1, -1)
    with torch.no_grad():
        amodal, iou = model.decode_boxes(embeddings, boxes, HW)
        visible = model.decode_boxes(embeddings, boxes, HW, "visible")[0]
        both = model.draw_masks(embeddings, boxes, HW)
        alone = model.draw_masks(embeddings, boxes, HW, visible=False)
    assert not torch.allclose(amodal, visible)
    torch.testing.assert_close(both.amodal_logits, amodal, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both.visible_logits, visible, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(both.predicted_iou, iou, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone.amodal_logits, amodal, atol=1e-5, rtol=1e-4)
    assert alone.visible_logits is None


def test_one_decoder_draws_the_whole_with_token_0_and_the_visible_part_with_token_1():
    model = build_sameo("sameo_lite", 64)
    assert model.visible_decoder is None
    embeddings = encode(model, torch.rand(2, 3, *HW))
    boxes = BOXES[None].expand(2, -1, -1)
    points, labels = corners_and_labels(boxes)
    with torch.no_grad():
        drawn = model.draw_masks(embeddings, boxes, HW)
        whole = model.decode(embeddings, points, labels, HW, multimask=False)[0]
        others = model.decode(embeddings, points, labels, HW, multimask=True)[0]
    seen = others[:, :, 0]
    smoothed = smooth_hidden_part(whole[:, :, 0], seen, averaging_matrix(32))
    torch.testing.assert_close(drawn.amodal_logits, smoothed, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(drawn.visible_logits, seen, atol=1e-5, rtol=1e-4)


def test_the_averaging_matrix_averages_five_neighbours_twice():
    logits = torch.randn(2, 1, 9, 9)
    pooled = logits
    for _ in range(2):
        pooled = F.avg_pool2d(pooled, 5, 1, 2, count_include_pad=False)
    averaging = averaging_matrix(9)
    torch.testing.assert_close(averaging @ logits @ averaging.T, pooled)


def test_the_outline_is_smoothed_where_it_is_hidden_and_nowhere_else():
    ragged = torch.full((1, 1, 32, 32), -4.0)
    ragged[..., 4:28, 4:17] = 4.0
    ragged[..., 4:28:2, 17:19] = 4.0  # Teeth of two pixels.
    nothing_seen = torch.full_like(ragged, -4.0)

    averaging = averaging_matrix(32)

    def teeth(logits: torch.Tensor) -> float:
        return (logits[..., 8:24, 18] > 0).float().mean().item()

    assert teeth(ragged) == 0.5
    assert teeth(smooth_hidden_part(ragged, nothing_seen, averaging)) == 0.0
    assert torch.equal(smooth_hidden_part(ragged, ragged, averaging), ragged)


def test_a_missing_visible_decoder_is_named():
    model = build_sameo("efficient_sam_vitt", 64)
    message = "masks of kind 'visible' do not exist in this network, which has only amodal"
    with pytest.raises(ValueError, match=message):
        model.decode_boxes(torch.zeros(1, 256, 4, 4), BOXES[None], HW, "visible")


def test_every_parameter_of_a_used_part_learns(model):
    model.zero_grad()
    boxes = BOXES[None]
    points, labels = corners_and_labels(boxes)
    labels = labels.clone()
    labels[0, 2, 0] = 1  # a click, so that its embedding takes part
    embedding = model.encode(torch.rand(1, 3, *HW))
    total = torch.zeros(())
    for decoder in ("amodal", "visible"):
        for multimask in (True, False):
            logits, iou = model.decode(embedding, points, labels, HW, multimask, decoder)
            total = total + logits.square().mean() + iou.square().mean()
    total.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None]
    assert without == []
    model.zero_grad()


def test_bfloat16_autocast_stays_close_to_float32(model):
    images = torch.rand(1, 3, *HW)
    with torch.no_grad():
        expected = model.decode_boxes(model.encode(images), BOXES[None], HW)[0]
        with torch.autocast("cpu", torch.bfloat16):
            actual = model.decode_boxes(model.encode(images), BOXES[None], HW)[0]
    # bfloat16 has 8 bits of precision; some twenty layers add up to a few percent.
    assert (actual.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_memory_layout_does_not_change_the_result(model):
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model.encode(images)
        actual = model.encode(images.to(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(3, 64, 64), "images must have shape (B, 3, H, W), got (3, 64, 64)"),
        (torch.rand(1, 64, 64, 3), "images must have shape (B, 3, H, W), got (1, 64, 64, 3)"),
    ],
    ids=["no_batch_axis", "channels_last"],
)
def test_images_of_a_wrong_shape_are_rejected(model, images, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model.encode(images)


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (torch.zeros(1, 2, 7, 2), torch.zeros(1, 2, 7), "P from 1 to 6, got (1, 2, 7, 2)"),
        (torch.zeros(1, 2, 2), torch.zeros(1, 2), "got (1, 2, 2)"),
        (torch.zeros(1, 2, 2, 2), torch.zeros(1, 2), "point_labels must have shape (1, 2, 2)"),
    ],
    ids=["seven_points", "no_batch_axis", "labels_too_few"],
)
def test_points_of_a_wrong_shape_are_rejected(model, embeddings, points, labels, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        model.decode(one_image(embeddings, 0), points, labels, HW)


def test_boxes_of_a_wrong_shape_are_rejected(model, embeddings):
    message = re.escape("boxes_xyxy must have shape (B, N, 4), got (3, 4)")
    with pytest.raises(ValueError, match=message):
        model.decode_boxes(embeddings, BOXES, HW)


@pytest.mark.parametrize(
    ("preset", "size", "message"),
    [
        ("sam", None, "preset must be one of efficient_sam_vitt, efficient_sam_vits, sameo_lite"),
        ("sameo_lite", 80, "image_size of sameo_lite must be a positive multiple of 32, got 80"),
        ("efficient_sam_vitt", 0, "must be a positive multiple of 16, got 0"),
    ],
)
def test_unknown_presets_and_sizes_are_rejected(preset, size, message):
    with pytest.raises(ValueError, match=message):
        build_sameo(preset, size)


@pytest.mark.parametrize("decoder", ["amodal", "visible"])
def test_clicks_beside_boxes_are_the_points_of_one_prompt(model, decoder):
    embeddings = encode(model, torch.rand(1, 3, 64, 64))
    boxes = torch.tensor([[[4.0, 6.0, 40.0, 50.0], [10.0, 10.0, 30.0, 20.0]]])
    points = torch.tensor([[[[20.0, 30.0], [12.0, 9.0]], [[15.0, 15.0], [99.0, 99.0]]]])
    labels = torch.tensor([[[1, 1], [1, -1]]])
    hw = (80, 64)
    with torch.no_grad():
        found, iou = model.decode_boxes(embeddings, boxes, hw, decoder, points, labels)
        alone, _ = model.decode_boxes(embeddings, boxes, hw, decoder)
        none = torch.full_like(labels, -1)
        padded, _ = model.decode_boxes(embeddings, boxes, hw, decoder, points, none)
        corners = boxes.unflatten(2, (2, 2))
        prompt = torch.cat((corners, torch.where(labels[..., None] == 1, points, -1.0)), dim=2)
        kinds = torch.cat((torch.tensor([2, 3]).expand(1, 2, 2), labels), dim=2)
        if not model.shares_decoder:
            candidates, estimates = model.decode(embeddings, prompt, kinds, hw, kind=decoder)
            best = estimates.argmax(2)
            expected = candidates[0, torch.arange(2), best[0]]
            torch.testing.assert_close(found[0], expected, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(found, alone, atol=1e-3 * float(alone.abs().max()))
    torch.testing.assert_close(padded, alone)
    assert iou.shape == (1, 2)


@pytest.mark.parametrize(
    ("points", "labels", "message"),
    [
        (torch.zeros(1, 1, 1, 2), None, "points_xy and point_labels go together"),
        (torch.zeros(1, 2, 1, 2), torch.ones(1, 2, 1), "with B and N of the boxes"),
        (torch.zeros(1, 1, 5, 2), torch.ones(1, 1, 5), "P from 1 to 6"),
    ],
)
def test_clicks_that_do_not_fit_the_boxes_are_refused(two_decoders, points, labels, message):
    model = two_decoders
    with pytest.raises(ValueError, match=message):
        model.decode_boxes(
            torch.zeros(1, 256, 4, 4),
            torch.zeros(1, 1, 4),
            (64, 64),
            points_xy=points,
            point_labels=labels,
        )
