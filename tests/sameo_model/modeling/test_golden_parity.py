"""The EfficientSAM presets give the reference's numbers."""

from dataclasses import dataclass

import pytest
import torch
from torch.nn import functional as F

from sameo_model.modeling import Sameo, build_sameo
from tests import golden

CASES = {
    "efficient_sam_vitt": ("efficient_sam_vitt", 1024),
    "efficient_sam_vits": ("efficient_sam_vits", 1024),
    "efficient_sam_vitt_512": ("efficient_sam_vitt", 512),
}
INPUT_HW = (480, 640)
TOLERANCE = 1e-4


@dataclass
class Parity:
    model: Sameo
    embedding: torch.Tensor
    expected: dict[str, torch.Tensor]

    def decode(self, labels: list[int], points: torch.Tensor, multimask: bool):
        codes = torch.tensor(labels).expand(points.shape[:3])
        with torch.no_grad():
            logits, iou = self.model.decode(self.embedding, points, codes, INPUT_HW, multimask)
        return logits[0], iou[0]

    @property
    def corners(self) -> torch.Tensor:
        return self.expected["boxes_xyxy"].float().view(1, 4, 2, 2)


@pytest.fixture(scope="module", params=CASES)
def parity(request: pytest.FixtureRequest) -> Parity:
    preset, image_size = CASES[request.param]
    model = build_sameo(preset, image_size)
    model.load_state_dict(golden.state_dict(preset))
    with torch.no_grad():
        embedding = model.encode(golden.image())
    return Parity(model, embedding, golden.answers(request.param))


def assert_equal_within_scale(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert actual.shape == expected.shape
    error = (actual - expected).abs().max() / expected.abs().max()
    assert error < TOLERANCE, f"max error is {error:.1e} of the tensor's scale"


@pytest.mark.parametrize("preset", ["efficient_sam_vitt", "efficient_sam_vits"])
def test_names_and_shapes_are_those_of_the_reference(preset):
    with torch.device("meta"):
        state = build_sameo(preset).state_dict()
    assert {name: tuple(t.shape) for name, t in state.items()} == golden.state_shapes(preset)


def test_embedding_equals_the_reference(parity):
    assert_equal_within_scale(parity.embedding[0, ::8, ::4, ::4], parity.expected["embedding"])


@pytest.mark.parametrize(("kind", "multimask"), [("multi", True), ("single", False)])
def test_box_prompts_give_the_reference_masks(parity, kind, multimask):
    logits, iou = parity.decode([2, 3], parity.corners, multimask)
    expected = parity.expected
    assert_equal_within_scale(logits[:, :, ::4, ::4], expected[f"{kind}_low_res_logits"])
    assert_equal_within_scale(iou, expected[f"{kind}_iou"])


def test_boxes_with_a_click_give_the_reference_masks(parity):
    points = torch.cat((parity.corners, parity.corners.mean(2, keepdim=True)), dim=2)
    logits, iou = parity.decode([2, 3, 1], points, True)
    expected = parity.expected
    assert_equal_within_scale(logits[:, :, ::4, ::4], expected["box_point_multi_low_res_logits"])
    assert_equal_within_scale(iou, expected["box_point_multi_iou"])


def test_one_box_alone_gives_the_reference_full_resolution_logits(parity):

    logits, _ = parity.decode([2, 3], parity.corners[:, :1], True)
    full = F.interpolate(logits, INPUT_HW, mode="bicubic", align_corners=False)
    assert_equal_within_scale(full[0, :, ::8, ::8], parity.expected["full_res_logits_box0"])
