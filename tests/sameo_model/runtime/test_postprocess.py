import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sameo_model.runtime import load_predictor
from sameo_model.runtime.postprocess import (
    drop_specks_and_holes,
    logits_to_crops,
    occlusion_ratios,
    upsample_window,
)
from sameo_model.runtime.types import MaskCrop
from tests.bundles import make_tiny_bundle, make_tiny_window_bundle

sides = st.integers(1, 40)
logit_maps = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    elements=st.floats(-4, 4, width=32),
)


def blob(centre_yx, radius_yx, side=128):
    """Logits of an ellipse, positive inside it; lengths in logit pixels."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    distance = np.hypot((y - centre_yx[0]) / radius_yx[0], (x - centre_yx[1]) / radius_yx[1])
    return (1 - distance).astype(np.float32)


def test_up_sampling_a_row_gives_the_values_derived_by_hand():
    # 2 to 4 columns: centres lie at -0.25 (held at 0), 0.25, 0.75 and 1.25 (held at 1).
    row = np.array([[0, 8]], np.float32)
    np.testing.assert_array_equal(upsample_window(row, (1, 4), (0, 0, 4, 1)), [[0, 2, 6, 8]])


@given(logit_maps, sides, sides)
@settings(max_examples=200)
def test_crops_equal_up_sampling_the_whole_map_and_cutting(logits, height, width):
    crops = logits_to_crops(logits, (height, width))
    for crop, logit_map in zip(crops, logits, strict=True):
        whole = upsample_window(logit_map, (height, width), (0, 0, width, height)) > 0
        np.testing.assert_array_equal(crop.to_image((height, width)), whole)
        expected = MaskCrop.from_mask(whole)
        assert crop.box_xyxy == expected.box_xyxy


@given(logit_maps, sides, sides, st.data())
def test_a_window_equals_its_part_of_the_whole_bit_for_bit(logits, height, width, data):
    x1 = data.draw(st.integers(0, width - 1))
    x2 = data.draw(st.integers(x1 + 1, width))
    y1 = data.draw(st.integers(0, height - 1))
    y2 = data.draw(st.integers(y1 + 1, height))
    whole = upsample_window(logits[0], (height, width), (0, 0, width, height))
    window = upsample_window(logits[0], (height, width), (x1, y1, x2, y2))
    np.testing.assert_array_equal(window, whole[y1:y2, x1:x2])


@pytest.mark.parametrize("image_hw", [(48, 64), (37, 91), (5, 3), (1, 1), (16, 16)])
def test_up_sampling_equals_torch_interpolation(image_hw):
    torch = pytest.importorskip("torch", reason="compares with PyTorch's interpolation")
    logits = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    batch = torch.from_numpy(logits)[None, None]
    expected = torch.nn.functional.interpolate(
        batch, image_hw, mode="bilinear", align_corners=False
    )
    whole = upsample_window(logits, image_hw, (0, 0, image_hw[1], image_hw[0]))
    np.testing.assert_allclose(whole, expected[0, 0].numpy(), atol=1e-5)


def test_a_mask_at_the_border_stays_inside_the_image():
    logits = np.full((1, 8, 8), -1, np.float32)
    logits[0, -1, -1] = 1
    (crop,) = logits_to_crops(logits, (30, 50))
    assert crop.box_xyxy[2:] == (50, 30)
    assert crop.mask[-1, -1]


def test_maps_without_a_positive_logit_give_empty_crops():
    logits = np.stack([np.full((4, 4), -1, np.float32), np.full((4, 4), np.nan, np.float32)])
    assert [crop.area for crop in logits_to_crops(logits, (20, 20))] == [0, 0]
    assert logits_to_crops(logits[:0], (20, 20)) == []


def test_occlusion_ratio_counts_amodal_pixels_that_are_not_visible():
    amodal = MaskCrop(2, 2, np.ones((4, 5), bool))
    # Columns 4 to 8 of rows 2 to 5: three of its columns lie in the amodal mask, 12 of 20 pixels.
    visible = MaskCrop(4, 2, np.ones((4, 5), bool))
    ratios = occlusion_ratios([amodal, amodal, amodal], [visible, MaskCrop.empty(), amodal])
    np.testing.assert_allclose(ratios, [8 / 20, 1, 0])
    assert ratios.dtype == np.float32


def test_occlusion_ratio_is_nan_where_it_is_not_defined():
    full = MaskCrop(0, 0, np.ones((2, 2), bool))
    assert np.isnan(occlusion_ratios([full], None)).all()
    assert np.isnan(occlusion_ratios([MaskCrop.empty()], [full])).all()


def test_the_cost_follows_the_objects_not_the_image():
    small_objects = np.stack([blob((20 + 8 * i, 20 + 8 * i), (5, 5)) for i in range(10)])

    def best_s(function):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            function()
            times.append(time.perf_counter() - start)
        return min(times)

    height, width = image_hw = (2160, 3840)
    whole_s = best_s(lambda: upsample_window(small_objects[0], image_hw, (0, 0, width, height)))
    # Each object covers 0.5 % of the image: ten of them cost far less than one whole map.
    assert best_s(lambda: logits_to_crops(small_objects, image_hw)) < whole_s / 2


def test_specks_are_dropped_and_the_parts_of_a_divided_object_stay():
    object_and_speck = np.maximum(blob((40, 40), (20, 20)), blob((100, 100), (2, 2)))
    two_parts = np.maximum(blob((40, 40), (20, 20)), blob((100, 100), (8, 8)))
    whole = blob((64, 64), (30, 30))
    logits = np.stack([object_and_speck, two_parts, whole, -np.ones_like(whole)])
    before = logits.copy()
    cleaned = drop_specks_and_holes(logits)
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(cleaned[0] > 0, blob((40, 40), (20, 20)) > 0)
    np.testing.assert_array_equal(abs(cleaned), abs(before))
    np.testing.assert_array_equal(cleaned[1:], before[1:])
    rest = logits[1:]
    assert drop_specks_and_holes(rest) is rest
    np.testing.assert_array_equal(drop_specks_and_holes(logits[:0]), logits[:0])


def test_small_holes_are_filled_and_a_handle_stays_open():
    disc = blob((64, 64), (40, 40))
    # Each hole counts alone: 69 of 5,013 pixels; both together would stay.
    pierced = np.minimum(disc, -np.maximum(blob((50, 50), (4.9, 4.9)), blob((80, 64), (4.9, 4.9))))
    handle = np.minimum(disc, -blob((64, 64), (8, 8)))
    corner = blob((0, 0), (200, 200))
    corner[124:, 124:] = -1  # small, but open to the rest of the image
    logits = np.stack([pierced, handle, corner])
    cleaned = drop_specks_and_holes(logits)
    np.testing.assert_array_equal(cleaned[0] > 0, disc > 0)
    np.testing.assert_array_equal(cleaned[1:], logits[1:])


@pytest.mark.parametrize("make_bundle", [make_tiny_window_bundle, make_tiny_bundle])
def test_masks_of_windows_have_no_specks(make_bundle, tmp_path, monkeypatch):
    predictor = load_predictor(make_bundle(tmp_path / "bundle"), backend="onnxruntime")
    run = predictor._run

    def add_speck(*arguments):
        output = run(*arguments)
        output.amodal_logits[:, :1, :1] = 1.0
        return output

    monkeypatch.setattr(predictor, "_run", add_speck)
    image = np.full((128, 128, 3), 90, np.uint8)
    found = predictor.decode(predictor.encode(image), [[30, 30, 110, 110]])
    mask = found.amodal_masks[0]
    has_speck = mask.x < 25
    assert mask.area > 1000
    assert has_speck is (make_bundle is make_tiny_bundle)
