import numpy as np
import pytest

from sameo_model.runtime import Predictor, load_predictor
from tests.bundles import make_tiny_bundle

GOOD_BOX = [16.0, 24.0, 80.0, 72.0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def predictor(folder):
    return load_predictor(folder, backend="openvino")


def grey_image(image_hw, level=51):
    return np.full((*image_hw, 3), level, np.uint8)


def test_masks_lie_where_the_boxes_are_on_each_axis(predictor):
    prediction = predictor.decode(predictor.encode(grey_image((96, 128))), [GOOD_BOX])
    # The tiny model's amodal mask is the box and its visible mask the box's upper half: from y 24
    # to 48. The corners of the amodal mask are rounded by bilinear up-sampling.
    assert prediction.amodal_masks[0].box_xyxy == (16, 24, 80, 72)
    assert prediction.visible_masks[0].box_xyxy == (16, 24, 80, 48)
    assert prediction.occlusion_ratio[0] == pytest.approx(0.5, abs=0.01)
    assert prediction.predicted_iou[0] == pytest.approx(51 / 255, abs=1e-4)


def test_results_have_the_contract_types(predictor):
    prediction = predictor.decode(predictor.encode(grey_image((96, 128))), [GOOD_BOX] * 3)
    assert len(prediction) == 3
    assert prediction.predicted_iou.dtype == np.float32
    assert prediction.occlusion_ratio.dtype == np.float32
    assert prediction.amodal_masks[0].mask.dtype == np.bool_
    assert isinstance(prediction.amodal_masks[0].x, int)


def test_no_boxes_give_an_empty_prediction(predictor):
    prediction = predictor.decode(predictor.encode(grey_image((96, 128))), np.zeros((0, 4)))
    assert prediction.amodal_masks == []
    assert prediction.visible_masks == []
    assert prediction.predicted_iou.shape == (0,)
    assert prediction.occlusion_ratio.shape == (0,)


def test_unusable_boxes_keep_their_rows_with_empty_masks(predictor):
    boxes = [[np.nan] * 4, GOOD_BOX, [5, 5, 3, 9], [200, 0, 300, 9], [4, 4, 4, 9]]
    prediction = predictor.decode(predictor.encode(grey_image((96, 128))), boxes)
    assert [mask.area > 0 for mask in prediction.amodal_masks] == [False, True, False, False, False]
    assert [mask.area > 0 for mask in prediction.visible_masks] == [False, True] + [False] * 3
    assert (prediction.predicted_iou > 0).tolist() == [False, True, False, False, False]
    assert np.isnan(prediction.occlusion_ratio).tolist() == [True, False, True, True, True]


def test_only_unusable_boxes_still_give_rows(predictor):
    prediction = predictor.decode(predictor.encode(grey_image((96, 128))), [[9, 9, 1, 1]] * 2)
    assert len(prediction) == 2
    assert prediction.visible_masks[1].area == 0


def test_boxes_beyond_the_border_are_clipped(predictor):
    prediction = predictor.decode(predictor.encode(grey_image((96, 128))), [[-50, 40, 64, 500]])
    assert prediction.amodal_masks[0].box_xyxy == (0, 40, 64, 96)


def test_boxes_in_shares_of_the_image_are_warned_of_once(folder, caplog):
    predictor = load_predictor(folder, backend="openvino")
    embedding = predictor.encode(grey_image((96, 128)))
    predictor.decode(embedding, [[0, 0, 1, 1], [0, 0, 0.5, 20]])
    predictor.decode(embedding, [])
    assert not caplog.records
    for _ in range(2):
        predictor.decode(embedding, [[0.25, 0.25, 0.5, 1], [0, 0, 1, 1]])
    (record,) = caplog.records
    assert "must be in pixels, but all boxes lie in the first pixel" in record.getMessage()


def test_many_boxes_keep_their_order_over_chunks(predictor):
    num_boxes = 133
    left = 10 + np.arange(num_boxes, dtype=np.float32)
    boxes = np.stack([left, left * 0 + 8, left + 40, left * 0 + 88], axis=1)
    prediction = predictor.decode(predictor.encode(grey_image((96, 200))), boxes)
    # Up-sampling keeps the tiny model's straight edges where they are; a pixel's rounding remains.
    starts = np.array([mask.x for mask in prediction.amodal_masks])
    assert len(prediction) == num_boxes
    assert np.abs(starts - left).max() <= 1
    assert (prediction.predicted_iou > 0).all()


def test_chunks_bound_what_the_backend_sees(folder, monkeypatch):
    predictor = load_predictor(folder, backend="onnxruntime")
    seen = []
    decode = predictor.backend.decode

    def record(handle, boxes, visible):
        seen.append(len(boxes))
        return decode(handle, boxes, visible)

    monkeypatch.setattr(predictor.backend, "decode", record)
    predictor.decode(predictor.encode(grey_image((96, 128))), [GOOD_BOX] * 40)
    assert seen == [16, 16, 8]


@pytest.mark.parametrize("image_hw", [(1, 1), (3000, 4000), (7, 500)])
def test_any_image_size_works_and_masks_stay_inside(predictor, image_hw):
    height, width = image_hw
    prediction = predictor.decode(predictor.encode(grey_image(image_hw)), [[0, 0, width, height]])
    x1, y1, x2, y2 = prediction.amodal_masks[0].box_xyxy
    assert (x1, y1, x2, y2) == (0, 0, width, height)


def test_the_visible_decoder_can_be_left_out(predictor):
    embedding = predictor.encode(grey_image((96, 128)))
    prediction = predictor.decode(embedding, [GOOD_BOX], visible=False)
    assert prediction.visible_masks is None
    assert np.isnan(prediction.occlusion_ratio).all()


def test_a_model_without_visible_decoder_gives_none(tmp_path):
    predictor = load_predictor(make_tiny_bundle(tmp_path, visible=False), "onnxruntime")
    boxes = [GOOD_BOX, [9, 9, 1, 1]]
    prediction = predictor.decode(predictor.encode(grey_image((96, 128))), boxes)
    assert not predictor.has_visible_decoder
    assert prediction.visible_masks is None
    assert np.isnan(prediction.occlusion_ratio).all()


def test_an_embedding_remembers_its_own_image(predictor):
    small = predictor.encode(grey_image((48, 64), level=0))
    predictor.encode(grey_image((96, 128), level=255))
    prediction = predictor.decode(small, [[0, 0, 640, 480]])
    assert prediction.amodal_masks[0].box_xyxy == (0, 0, 64, 48)
    assert prediction.predicted_iou[0] == pytest.approx(0, abs=1e-6)


def test_an_embedding_of_another_predictor_is_rejected(predictor, folder):
    other = load_predictor(folder, backend="openvino")
    with pytest.raises(
        ValueError, match="embedding must come from this predictor's encode, got that of another"
    ):
        predictor.decode(other.encode(grey_image((96, 128))), [GOOD_BOX])


def test_what_is_no_embedding_is_named(predictor):
    with pytest.raises(ValueError, match="this predictor's encode, got ndarray; encode the image"):
        predictor.decode(grey_image((96, 128)), [GOOD_BOX])


def test_boxes_of_another_shape_are_rejected(predictor):
    embedding = predictor.encode(grey_image((96, 128)))
    with pytest.raises(ValueError, match=r"boxes_xyxy must be numbers of shape \(N, 4\)"):
        predictor.decode(embedding, GOOD_BOX)


def test_leaving_the_context_closes_the_backend(folder, monkeypatch):
    closed = []
    with load_predictor(folder, backend="onnxruntime") as predictor:
        assert isinstance(predictor, Predictor)
        monkeypatch.setattr(predictor.backend, "close", lambda: closed.append(True))
    assert closed == [True]
