"""Reading the images that records point at."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sameo_model.data.types import AmodalImage


def image_at(path, image_hw=(4, 6)):
    return AmodalImage(7, Path(path), image_hw, (), "d2sa")


def test_images_come_in_the_order_red_green_blue(tmp_path):
    image_bgr = np.zeros((4, 6, 3), dtype=np.uint8)
    image_bgr[..., 0], image_bgr[..., 2] = 10, 200
    assert cv2.imwrite(str(tmp_path / "a.png"), image_bgr)
    image = image_at(tmp_path / "a.png").load_rgb()
    assert image[0, 0].tolist() == [200, 0, 10]
    assert (image.dtype, image.shape) == (np.uint8, (4, 6, 3))


def test_grey_images_get_three_channels(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6), 9, dtype=np.uint8))
    assert image_at(tmp_path / "a.png").load_rgb().shape == (4, 6, 3)


def test_orientation_tags_are_ignored(tmp_path):
    """A JPEG that says "turn me by 90 degrees" keeps the pixels that annotations refer to."""
    encoded = cv2.imencode(".jpg", np.zeros((4, 6, 3), dtype=np.uint8))[1].tobytes()
    # TIFF header, one entry: tag 0x0112 (orientation), type SHORT, count 1, value 6.
    tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"
    segment = b"Exif\0\0" + tiff
    header = b"\xff\xe1" + (len(segment) + 2).to_bytes(2, "big") + segment
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded[:2] + header + encoded[2:])
    assert cv2.imread(str(path)).shape == (6, 4, 3)
    assert image_at(path).load_rgb().shape == (4, 6, 3)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image 7 of d2sa must lie at .*a\.png"):
        image_at(tmp_path / "a.png").load_rgb()


def test_a_damaged_image_is_named(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG not quite")
    with pytest.raises(ValueError, match=r"image .*a\.png cannot be read; give a whole PNG"):
        image_at(tmp_path / "a.png").load_rgb()


def test_an_image_of_another_size_is_refused(tmp_path):
    assert cv2.imwrite(str(tmp_path / "a.png"), np.zeros((6, 4, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"annotated size \(4, 6\) \(H, W\), got \(6, 4\)"):
        image_at(tmp_path / "a.png").load_rgb()
