"""Folders of cut-out objects: what is read of them, and what is left out by name."""

import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from sameo_model.synthesis.cutouts import category_name, find_cutouts, read_cutout
from tests.sameo_model.synthesis.fabricate_cutouts import draw_rgba, write_cutouts


def write_png_header(path, width, height):
    """Write a PNG that claims a size and holds next to nothing."""

    def chunk(kind, content):
        body = kind + content
        return len(content).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    header = chunk(b"IHDR", size + bytes([8, 6, 0, 0, 0]))
    data = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b""))


def write_without_alpha(path):
    cv2.imwrite(str(path), draw_rgba("disc")[..., :3])


def write_transparent(path):
    cv2.imwrite(str(path), draw_rgba("disc") * np.array([1, 1, 1, 0], np.uint8))


def write_opaque(path):
    image = draw_rgba("disc")
    image[..., 3] = 255
    cv2.imwrite(str(path), image)


def write_speck(path):
    image = draw_rgba("disc")
    image[..., 3] = 0
    image[10:20, 10:20, 3] = 255
    cv2.imwrite(str(path), image)


def write_hairline(path):
    """Draw a line that is a pixel wide and vanishes when it is shrunk."""
    image = np.zeros((2000, 2000, 4), np.uint8)
    image[np.arange(2000), np.arange(2000)] = 255
    cv2.imwrite(str(path), image)


def write_truncated(path):
    noise = np.random.default_rng(0).integers(0, 256, (100, 100, 4), dtype=np.uint8)
    noise[:, :50, 3] = 0
    cv2.imwrite(str(path), noise)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def write_text(path):
    path.write_text("no image")


def write_empty(path):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_without_alpha, "must have an alpha channel, got mode RGB"),
        (write_transparent, "is transparent everywhere"),
        (write_opaque, "is opaque all over"),
        (write_speck, "shows 100 pixels"),
        (write_hairline, "when it is shrunk to 640, got 0: the object is too thin"),
        (write_truncated, "is damaged"),
        (write_text, "must be a readable image"),
        (write_empty, "must be a readable image"),
        (lambda path: write_png_header(path, 10_000, 10_000), "got 10000 x 10000; shrink it"),
        (lambda path: write_png_header(path, 100_000, 100_000), "must be a readable image"),
    ],
    ids=[
        *("no alpha", "transparent", "opaque", "speck", "hairline", "truncated", "text", "empty"),
        *("10,000 a side", "100,000 a side"),
    ],
)
def test_an_unusable_cutout_is_named_and_left_out(tmp_path, caplog, write, reason):
    folder = write_cutouts(tmp_path / "cutouts")
    sound = find_cutouts(folder)
    write(folder / "bad.png")
    found = find_cutouts(folder)
    assert found == sound
    (message,) = caplog.messages
    assert "bad.png" in message
    assert reason in message
    assert "left out" in message
    for path in sound.paths:
        path.unlink()
    with pytest.raises(ValueError, match="got 1 such files, none of which can be used"):
        find_cutouts(folder)


def test_hidden_files_are_no_cutouts(tmp_path):
    folder = write_cutouts(tmp_path / "cutouts")
    (folder / "._bar_1.png").write_bytes(b"of another system")
    assert len(find_cutouts(folder).paths) == 3


@pytest.mark.parametrize(
    ("name", "category"),
    [
        ("bottle_017.png", "bottle"),
        ("cup-2.webp", "cup"),
        ("tin (3).png", "tin"),
        ("milk.png", "milk"),
        ("mugs/0001.png", "mugs"),
        ("12.png", "object"),
        ("tea box 4.png", "tea box"),
    ],
)
def test_the_name_says_the_class(tmp_path, name, category):
    assert category_name(tmp_path / name, tmp_path) == category


def test_a_cutout_is_tight_and_its_rim_has_inner_colours(tmp_path):
    image = draw_rgba("disc")
    image[image[..., 3] < 255] = (255, 255, 255, 0)  # a hard cut
    image[50, 20:22, :3] = 255  # the old white ground still shows at the rim
    cv2.imwrite(str(tmp_path / "disc.png"), image)
    cutout = read_cutout(tmp_path / "disc.png")
    height, width = cutout.alpha.shape
    assert abs(height - 60) <= 2
    assert abs(width - 60) <= 2
    # The drawn colour is BGR (40, 180, 40); rim and surroundings have it too.
    np.testing.assert_array_equal(cutout.rgb[height // 2, 0], (40, 180, 40))
    assert (cutout.rgb == (40, 180, 40)).all()


def test_a_palette_with_a_transparent_colour_and_grey_with_alpha_are_read(tmp_path):
    rgba = Image.fromarray(draw_rgba("disc")[..., [2, 1, 0, 3]])
    rgba.convert("LA").save(tmp_path / "grey.png")
    palette = np.where(draw_rgba("disc")[..., 3] > 127, 1, 0).astype(np.uint8)
    indexed = Image.fromarray(palette, mode="P")
    indexed.putpalette([0, 0, 0, 200, 10, 20])
    indexed.save(tmp_path / "indexed.png", transparency=0)
    cutouts = find_cutouts(tmp_path)
    assert len(cutouts.paths) == 2
    for path in cutouts.paths:
        assert abs(int((read_cutout(path).alpha > 127).sum()) - np.pi * 30**2) < 150


def test_a_large_cutout_is_shrunk_once(tmp_path):
    large = np.zeros((1500, 1000, 4), np.uint8)
    large[100:1400, 100:900] = 255
    cv2.imwrite(str(tmp_path / "large.png"), large)
    # 1300 x 800 pixels: the longer side becomes 640.
    assert read_cutout(tmp_path / "large.png").alpha.shape == (640, 394)
