import io
import logging
import os

import cv2
import numpy as np
import pytest

from sameo_model.runtime.image_format import read_orientation
from sameo_model.runtime.images import (
    decode_image,
    is_readable,
    list_images,
    read_decoded_image,
    read_image,
    read_values,
    scale_to_8_bits,
)
from tests.image_files import TAGGED_FORMATS, tagged

# Slopes that differ along rows and columns, so that no turn or mirroring leaves them as they are.
ROWS, COLUMNS = np.mgrid[:24, :40]
SMOOTH = np.dstack([6 * COLUMNS, 10 * ROWS, 255 - 3 * ROWS - 4 * COLUMNS]).astype(np.uint8)
# How a viewer shows the stored pixels (EXIF 2.3, tag 0x0112): np.rot90 turns to the left.
UPRIGHT = {
    1: SMOOTH,
    2: SMOOTH[:, ::-1],
    3: SMOOTH[::-1, ::-1],
    4: SMOOTH[::-1],
    5: SMOOTH.transpose(1, 0, 2),
    6: np.rot90(SMOOTH, -1),
    7: np.rot90(SMOOTH)[:, ::-1],
    8: np.rot90(SMOOTH),
}


@pytest.mark.parametrize("suffix", TAGGED_FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_or_left_as_stored_in_every_format(suffix, orientation):
    content = tagged(suffix, SMOOTH, orientation)
    tolerance = 12 if suffix == "jpg" else 0
    for upright, expected in ((True, UPRIGHT[orientation]), (False, SMOOTH)):
        decoded = decode_image(content, upright=upright)
        assert decoded.shape == expected.shape
        assert np.abs(decoded.astype(int) - expected).max() <= tolerance
        assert decoded.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_avif_is_upright(orientation):
    image = pytest.importorskip("PIL.Image")
    if not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif = image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    image.fromarray(SMOOTH).save(file, "AVIF", exif=exif)
    assert read_orientation(file.getvalue()) == orientation


def test_big_endian_tags_count_and_numbers_that_are_no_orientation_do_not():
    assert decode_image(tagged("jpg", SMOOTH, 6, ">")).shape == (40, 24, 3)
    for nonsense in (0, 9, 255):
        assert decode_image(tagged("jpg", SMOOTH, nonsense)).shape == (24, 40, 3)


def test_a_tag_that_points_out_of_the_file_is_no_tag():
    content = tagged("jpg", SMOOTH, 6).replace(b"II*\0\x08", b"II*\0\xf8")
    assert decode_image(content).shape == (24, 40, 3)


@pytest.mark.parametrize("suffix", TAGGED_FORMATS)
def test_a_tag_is_said_when_an_image_is_read(tmp_path, caplog, suffix):
    path = tmp_path / f"phone.{suffix}"
    path.write_bytes(tagged(suffix, SMOOTH, 6))
    with caplog.at_level(logging.WARNING):
        assert read_image(path).shape == (40, 24, 3)
    assert caplog.messages == [
        f"phone.{suffix} has the EXIF orientation 6 and was turned upright, as viewers and "
        "detectors do; boxes and masks belong to the upright image"
    ]


@pytest.mark.parametrize(
    ("annotated_hw", "expected", "is_upright"),
    [((24, 40), SMOOTH, False), ((40, 24), UPRIGHT[6], True)],
    ids=["stored size", "upright size"],
)
def test_the_annotated_size_decides_over_the_tag(tmp_path, annotated_hw, expected, is_upright):
    path = tmp_path / "a.png"
    path.write_bytes(tagged("png", SMOOTH, 6))
    decoded = read_decoded_image(path, annotated_hw)
    np.testing.assert_array_equal(decoded.image_rgb, expected)
    assert decoded.is_upright == is_upright
    assert ("was turned upright" if is_upright else "not applied") in decoded.notes()[0]


def test_half_a_turn_is_not_applied_where_the_annotated_size_cannot_tell(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(tagged("png", SMOOTH, 3))
    np.testing.assert_array_equal(read_image(path, (24, 40)), SMOOTH)


def test_an_image_of_another_size_than_annotated_is_refused(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(tagged("png", SMOOTH, 6))
    with pytest.raises(ValueError, match=r"annotated size \(48, 80\) \(H, W\), got \(24, 40\)"):
        read_image(path, (48, 80))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif"])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.999])
def test_an_image_without_its_end_is_refused(suffix, share):
    # OpenCV 4 decodes such a JPEG and leaves the rest grey.
    noise = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    content = cv2.imencode(f".{suffix}", noise)[1].tobytes()
    assert decode_image(content).shape == (96, 96, 3)
    for part in (content[: int(len(content) * share)], memoryview(content)[: len(content) // 3]):
        with pytest.raises(ValueError, match=r"its end is missing|cannot decode this"):
            decode_image(part)
        assert not is_readable(part)


def test_a_progressive_jpeg_without_its_end_is_refused():
    content = cv2.imencode(".jpg", SMOOTH, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert decode_image(content).shape == (24, 40, 3)
    with pytest.raises(ValueError, match="its end is missing"):
        decode_image(content[:-2])


def test_a_jpeg_whose_last_part_is_zeros_is_refused():
    noise = np.random.default_rng(1).integers(0, 256, (96, 96, 3), dtype=np.uint8)
    content = cv2.imencode(".jpg", noise)[1].tobytes()
    with pytest.raises(ValueError, match="its end is missing"):
        decode_image(content[:4000] + bytes(len(content) - 4000))


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_image():
    thumbnail = cv2.imencode(".jpg", SMOOTH)[1].tobytes()
    segment = b"\xff\xe2" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    content = cv2.imencode(".jpg", SMOOTH)[1].tobytes()
    content = content[:2] + segment + content[2:]
    assert decode_image(content).shape == (24, 40, 3)
    with pytest.raises(ValueError, match="its end is missing"):
        decode_image(content[:-400])


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_what_follows_the_end_is_no_damage(suffix):
    # Phones append a video or a second image.
    content = cv2.imencode(f".{suffix}", SMOOTH)[1].tobytes()
    np.testing.assert_array_equal(decode_image(content + b"video"), decode_image(content))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("shape", ["grey", "colour"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_cameras_of_few_bits_give_the_image_of_eight(tmp_path, bits, shape, suffix):
    eight = SMOOTH if shape == "colour" else SMOOTH[..., 0]
    path = tmp_path / f"a.{suffix}"
    assert cv2.imwrite(str(path), eight.astype(np.uint16) << (bits - 8))
    decoded = read_decoded_image(path)
    expected = eight[..., ::-1] if shape == "colour" else np.repeat(eight[..., None], 3, axis=2)
    np.testing.assert_array_equal(decoded.image_rgb, expected)
    assert decoded.used_bits == bits
    assert decoded.notes() == (
        [] if bits == 8 else [f"has values of {bits} bits, which were scaled to 8"]
    )


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WebP"])
def test_alpha_is_ignored_in_every_format(form):
    image = pytest.importorskip("PIL.Image")
    alpha = np.full((*SMOOTH.shape[:2], 1), 100, np.uint8)
    file = io.BytesIO()
    image.fromarray(np.dstack([SMOOTH, alpha])).save(file, form, lossless=True)
    np.testing.assert_array_equal(decode_image(file.getvalue()), SMOOTH)


def test_the_largest_value_tells_the_used_bits():
    # 1,023 is the largest value of 10 bits, 1,024 the first of 12 (shifted by 4).
    for largest, expected in ((255, 255), (1023, 255), (1024, 64), (4095, 255), (65535, 255)):
        for order in "<>":
            values = np.array([0, largest], dtype=f"{order}u2")
            assert scale_to_8_bits(values).tolist() == [0, expected]


def test_images_of_real_numbers_are_refused():
    content = cv2.imencode(".tif", np.full((4, 4, 3), 0.5, np.float32))[1].tobytes()
    with pytest.raises(ValueError, match="its values are float32, not of 8 or 16 bits"):
        decode_image(content)


def test_values_are_read_as_they_are_stored(tmp_path):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    assert cv2.imwrite(str(tmp_path / "a.png"), values)
    np.testing.assert_array_equal(read_values(tmp_path / "a.png"), values)
    for suffix in ("png", "tif"):
        (tmp_path / f"b.{suffix}").write_bytes(tagged(suffix, SMOOTH, 6))
        np.testing.assert_array_equal(read_values(tmp_path / f"b.{suffix}"), SMOOTH[..., ::-1])


def test_a_format_that_opencv_cannot_decode_is_named(tmp_path):
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(100))
    with pytest.raises(ValueError, match=r"IMG_1\.HEIC cannot be read; .* decode this HEIC file"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n1234"])
def test_a_file_that_is_no_image_is_named(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"image .*broken\.png cannot be read; give a whole PNG"):
        read_image(path)
    with pytest.raises(ValueError, match=r"image .*broken\.png cannot be read; give a whole PNG"):
        read_values(path)


def test_a_missing_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"image .*none\.png does not exist"):
        read_image(tmp_path / "none.png")


def test_an_image_is_read_as_rgb(tmp_path):
    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((2, 3, 3), (0, 0, 200), np.uint8))
    image = read_image(path)
    assert image.shape == (2, 3, 3)
    assert image[0, 0].tolist() == [200, 0, 0]


def test_hidden_files_are_no_images(tmp_path):
    for name in ("b.png", "a.JPG", "._a.JPG", ".hidden.png", "c.txt", "d.heic"):
        (tmp_path / name).touch()
    assert [path.name for path in list_images(tmp_path)] == ["a.JPG", "b.png", "d.heic"]


def test_a_folder_named_like_an_image_is_none_but_a_broken_link_is_told_of(tmp_path):
    (tmp_path / "results.jpg").mkdir()
    (tmp_path / "moved.png").symlink_to(tmp_path / "gone.png")
    assert [path.name for path in list_images(tmp_path)] == ["moved.png"]


def test_images_in_a_hidden_folder_of_the_users_own_are_listed(tmp_path):
    folder = tmp_path / ".cache" / "images"
    os.makedirs(folder)
    (folder / "a.png").touch()
    assert [path.name for path in list_images(folder)] == ["a.png"]
