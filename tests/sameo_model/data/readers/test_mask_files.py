import cv2
import numpy as np
import pytest

from sameo_model.data.readers.mask_files import load_mask_file
from tests.image_files import tagged

MASK = np.zeros((6, 10), np.uint8)
MASK[1:3, 2:9] = 1


@pytest.mark.parametrize(
    "image",
    [
        MASK,
        MASK * 255,
        MASK.astype(np.uint16),
        MASK.astype(np.uint16) * 65535,
        # The first colour of VOC's palette, (128, 0, 0) in RGB, whose grey is 38.
        MASK[..., None] * np.array([0, 0, 128], np.uint8),
        np.dstack([MASK * 255, MASK * 255, MASK * 255, np.full_like(MASK, 255)]),
    ],
    ids=["0 and 1", "0 and 255", "16 bits, 0 and 1", "16 bits", "palette", "transparency"],
)
def test_masks_are_read_however_they_are_painted(tmp_path, image):
    assert cv2.imwrite(str(tmp_path / "mask.png"), image)
    np.testing.assert_array_equal(load_mask_file(tmp_path / "mask.png"), MASK)


def test_soft_edges_are_cut_at_half(tmp_path):
    assert cv2.imwrite(str(tmp_path / "mask.png"), np.array([[0, 100, 127, 128, 255]], np.uint8))
    assert load_mask_file(tmp_path / "mask.png").tolist() == [[0, 0, 0, 1, 1]]


def test_a_black_image_is_an_empty_mask(tmp_path):
    assert cv2.imwrite(str(tmp_path / "mask.png"), MASK * 0)
    assert load_mask_file(tmp_path / "mask.png").tolist() == (MASK * 0).tolist()


def test_masks_lie_over_stored_pixels_whatever_their_tag(tmp_path):
    path = tmp_path / "mask.png"
    path.write_bytes(tagged("png", np.dstack([MASK * 255] * 3), 6))
    np.testing.assert_array_equal(load_mask_file(path), MASK)


def test_absent_and_damaged_masks_are_none(tmp_path):
    assert load_mask_file(tmp_path / "mask.png") is None
    (tmp_path / "mask.png").write_bytes(cv2.imencode(".png", MASK)[1].tobytes()[:-6])
    assert load_mask_file(tmp_path / "mask.png") is None
