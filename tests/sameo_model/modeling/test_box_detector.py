"""The box detector: cells, boxes and weights on disk."""

import pytest
import torch

from sameo_model.modeling.box_checkpoint import load_box_detector
from sameo_model.modeling.box_detector import BoxDetector, cell_grid
from sameo_model.modeling.checkpoint import load_checkpoint, save_checkpoint
from sameo_model.modeling.presets import build_sameo


@pytest.fixture(scope="module")
def detector():
    torch.manual_seed(0)
    return BoxDetector(64).eval()


def test_cells_run_row_by_row_from_the_finest_stride():
    centres, strides = cell_grid(32, 64)
    # 4 x 8, 2 x 4 and 1 x 2 cells.
    assert strides[:, 0].tolist() == [8.0] * 32 + [16.0] * 8 + [32.0] * 2
    assert centres[[0, 1, 8, 32, 40, 41]].tolist() == [
        [4, 4],
        [12, 4],
        [4, 12],
        [8, 8],
        [16, 16],
        [48, 16],
    ]


def test_an_untrained_head_predicts_squares_of_eight_strides_around_each_cell(detector):
    with torch.no_grad():
        for head in detector.box_head:
            head.output.weight.zero_()
        answer = detector(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))
    centres, strides = cell_grid(64, 64)
    expected = torch.cat((centres - 4 * strides, centres + 4 * strides), dim=1)
    torch.testing.assert_close(answer.visible_xyxy[0], expected)
    # An objectness of 0.01 and an IoU of 0.5: their geometric mean.
    torch.testing.assert_close(answer.scores(), torch.full((1, len(centres)), 0.005**0.5))


def test_every_whole_box_contains_the_visible_one():
    torch.manual_seed(3)
    detector = BoxDetector().eval()
    for head in detector.box_head:
        torch.nn.init.normal_(head.output.weight, std=3.0)
    with torch.no_grad():
        answer = detector(torch.randint(0, 255, (2, 3, 96, 64), dtype=torch.uint8))
    inner, outer = answer.visible_xyxy, answer.amodal_xyxy
    assert inner.shape == outer.shape == (2, 12 * 8 + 6 * 4 + 3 * 2, 4)
    assert (outer[..., :2] <= inner[..., :2]).all()
    assert (outer[..., 2:] >= inner[..., 2:]).all()
    assert (outer != inner).any()


def test_a_saved_detector_answers_as_before(detector, tmp_path):
    save_checkpoint(detector, tmp_path / "boxes.safetensors")
    loaded = load_box_detector(tmp_path / "boxes.safetensors")
    image = torch.randint(0, 255, (1, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        assert torch.equal(loaded(image).visible_xyxy, detector(image).visible_xyxy)
        assert torch.equal(loaded(image).scores(), detector(image).scores())
    assert loaded.image_size == 64


def test_networks_of_the_other_kind_are_refused(detector, tmp_path):
    save_checkpoint(detector, tmp_path / "boxes.safetensors")
    with pytest.raises(ValueError, match=r"preset must be one of .* got 'box_detector'"):
        load_checkpoint(tmp_path / "boxes.safetensors")
    save_checkpoint(build_sameo("sameo_lite"), tmp_path / "masks.safetensors")
    with pytest.raises(ValueError, match="must hold a box_detector, got sameo_lite"):
        load_box_detector(tmp_path / "masks.safetensors")
    with pytest.raises(FileNotFoundError, match=r"nothing\.safetensors does not exist"):
        load_box_detector(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("size", [0, -32, 500])
def test_an_input_that_the_strides_do_not_divide_is_refused(size):
    with pytest.raises(ValueError, match=f"must be a positive multiple of 32, got {size}"):
        BoxDetector(size)
