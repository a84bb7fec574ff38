"""The one way to read an image, from a file or from bytes.

Rules, the same for every command, the node and the data sets:

- **Orientation.** An image whose EXIF tag says that it is turned or mirrored is turned upright,
  because viewers and detectors show it so. Where annotations state the image's size, the pixels
  are taken as they are stored if that is the stored size, and upright if it is the upright size
  alone. Mask files and depth are taken as they are stored.
- **16 bits.** Values of 8, 10, 12, 14 or 16 used bits become 8 bits; the image's largest value
  tells which.
- **Damage.** A truncated image is rejected, even where OpenCV would decode it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.image_format import (
    Content,
    image_format,
    is_cut_off,
    keep_colours,
    read_orientation,
)
from sameo_model.runtime.types import ImageHW, Uint8Array

IMAGE_SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".webp"),
        *(".ppm", ".pgm", ".pnm", ".jp2", ".gif", ".avif", ".heic", ".heif"),
    }
)
"""Suffixes of image files; a file that OpenCV cannot decode is reported."""

_LOGGER = logging.getLogger(__name__)
_USED_BITS = (8, 10, 12, 14, 16)
_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
_COLOUR_EIGHTH = cv2.IMREAD_REDUCED_COLOR_8 | cv2.IMREAD_IGNORE_ORIENTATION


@dataclass(frozen=True)
class DecodedImage:
    """Pixels, and what was done to get them."""

    image_rgb: Uint8Array  # uint8 (H, W, 3), RGB, 0-255
    orientation: int  # the EXIF tag, 1 to 8; 1 is upright or no tag
    is_upright: bool  # whether the tag was applied; True without a tag
    used_bits: int  # how many bits of a value were used; above 8 they were scaled down

    def notes(self) -> list[str]:
        """Return what a user must know, each the rest of a sentence that begins with the name."""
        notes = []
        if self.orientation != 1 and self.is_upright:
            notes.append(
                f"has the EXIF orientation {self.orientation} and was turned upright, as viewers "
                "and detectors do; boxes and masks belong to the upright image"
            )
        elif self.orientation != 1:
            notes.append(
                f"has the EXIF orientation {self.orientation}, which was not applied, as the "
                "annotations have the size of the stored pixels"
            )
        if self.used_bits != 8:
            notes.append(f"has values of {self.used_bits} bits, which were scaled to 8")
        return notes


def read_image(path: str | Path, annotated_hw: ImageHW | None = None) -> Uint8Array:
    """Read an image and log what a user must know of it (orientation tag, more than 8 bits).

    Args:
        path: A PNG, JPEG or any other format that OpenCV reads.
        annotated_hw: Height and width in pixels where annotations state them; see the module.

    Returns:
        uint8 (H, W, 3), RGB, 0-255, contiguous.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a whole image, or has another size than the annotated.
    """
    decoded = read_decoded_image(path, annotated_hw)
    for note in decoded.notes():
        _LOGGER.warning("%s %s", Path(path).name, note)
    return decoded.image_rgb


def read_decoded_image(path: str | Path, annotated_hw: ImageHW | None = None) -> DecodedImage:
    """Read an image like `read_image`, but return what is to know of it instead of logging it."""
    content = _read_file(path)
    try:
        decoded = _decode(content, upright=annotated_hw is None)
        if annotated_hw is None or decoded.image_rgb.shape[:2] == tuple(annotated_hw):
            return decoded
        upright = _decode(content, upright=True)
    except ValueError as error:
        raise ValueError(
            f"image {path} cannot be read; give a whole PNG or JPEG file ({error})"
        ) from error
    if upright.image_rgb.shape[:2] == tuple(annotated_hw):
        return upright
    raise ValueError(
        f"image {path} must have the annotated size {tuple(annotated_hw)} (H, W), got "
        f"{decoded.image_rgb.shape[:2]}; use the images that belong to the annotations"
    )


def decode_image(content: Content, *, upright: bool = True) -> Uint8Array:
    """Decode the bytes of an image file.

    Args:
        content: A PNG, JPEG or any other format that OpenCV reads.
        upright: Apply the EXIF orientation; False keeps rows and columns as they are stored.

    Returns:
        uint8 (H, W, 3), RGB, 0-255, contiguous.

    Raises:
        ValueError: If it is not a whole image of 8 or 16 bits; the message is the reason.
    """
    return _decode(content, upright=upright).image_rgb


def decode_values(content: Content) -> npt.NDArray[Any]:
    """Decode the stored values of a mask, of labels, of depth or of a Bayer mosaic.

    Returns:
        (H, W), or (H, W, C) with channels in OpenCV's order, of the file's own type; as stored.

    Raises:
        ValueError: If it is not a whole image; the message is the reason.
    """
    values = _decode_with(content, cv2.IMREAD_UNCHANGED)
    return np.ascontiguousarray(_as_stored(values, content))


def read_values(path: str | Path) -> npt.NDArray[Any]:
    """Read the stored values of a mask, of labels or of depth from a file; see `decode_values`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a whole image.
    """
    try:
        return decode_values(_read_file(path))
    except ValueError as error:
        raise ValueError(f"image {path} cannot be read; give a whole PNG file ({error})") from error


def is_readable(content: Content, min_side_px: int = 1) -> bool:
    """Return whether an image is whole and no side is shorter; eight times faster than decoding.

    A JPEG is decoded at an eighth of its size, where damage shows as well; sides are then known to
    8 pixels.
    """
    try:
        eighth = _decode_with(content, _COLOUR_EIGHTH)
    except ValueError:
        return False
    return bool(min(eighth.shape[:2]) * 8 >= min_side_px)


def scale_to_8_bits(values: npt.NDArray[np.uint16]) -> Uint8Array:
    """Scale values of 8 to 16 used bits to 8 bits; the largest value tells how many are used.

    Cameras of 10 or 12 bits leave the upper bits of 16 empty: dividing by 256 would give a nearly
    black image.

    Args:
        values: uint16 of any shape, in either byte order.

    Returns:
        uint8 of the same shape: the upper 8 of 8, 10, 12, 14 or 16 bits.
    """
    return (values >> (_used_bits(values) - 8)).astype(np.uint8)


def turn_upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Apply an EXIF orientation.

    Args:
        pixels: (H, W) or (H, W, C), rows and columns as stored.
        orientation: 1 to 8, see `sameo_model.runtime.image_format.read_orientation`.

    Returns:
        A view of the pixels; with 5 to 8 its height is the stored width.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def list_images(folder: Path) -> list[Path]:
    """Return the image files of a folder in the order of their names, hidden ones left out.

    Raises:
        FileNotFoundError: If there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder {folder} does not exist; check the path")
    files = without_hidden(folder.iterdir(), folder)
    return sorted(
        file for file in files if file.suffix.lower() in IMAGE_SUFFIXES and not file.is_dir()
    )


def without_hidden(paths: Iterable[Path], folder: Path) -> list[Path]:
    """Leave out files and folders below `folder` whose name begins with a dot.

    macOS leaves `._name.png` beside `name.png` on foreign disks and in archives: no image.
    """
    return [
        path
        for path in paths
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _read_file(path: str | Path) -> bytes:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {path} does not exist; check the path")
    return path.read_bytes()


def _decode(content: Content, *, upright: bool) -> DecodedImage:
    values = _decode_with(content, _COLOUR)
    if values.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"its values are {values.dtype}, not of 8 or 16 bits")
    used_bits = 8 if values.dtype == np.uint8 else _used_bits(values)
    if values.dtype == np.uint16:
        values = scale_to_8_bits(values.view(np.uint16))
    orientation = read_orientation(content)
    values = _as_stored(values, content)
    if upright:
        values = turn_upright(values, orientation)
    image_rgb = np.asarray(cv2.cvtColor(values, cv2.COLOR_BGR2RGB), dtype=np.uint8)
    return DecodedImage(image_rgb, orientation, upright or orientation == 1, used_bits)


def _decode_with(content: Content, flags: int) -> npt.NDArray[Any]:
    """Decode with OpenCV, or raise ValueError with the reason as the message."""
    if not len(content):
        raise ValueError("it is empty")
    if is_cut_off(content):
        raise ValueError("its end is missing")
    try:
        values = cv2.imdecode(np.frombuffer(keep_colours(content), dtype=np.uint8), flags)
    except cv2.error:
        values = None
    if values is None:
        kind = f"{image_format(content)} file".strip()
        raise ValueError(f"OpenCV {cv2.__version__} cannot decode this {kind}")
    return values


def _used_bits(values: npt.NDArray[Any]) -> int:
    return next(bits for bits in _USED_BITS if int(values.max()) < 1 << bits)


def _as_stored(values: npt.NDArray[Any], content: Content) -> npt.NDArray[Any]:
    # OpenCV turns TIFF files upright whatever the flags say. Turning left undoes turning right;
    # every other orientation undoes itself.
    if image_format(content) != "TIFF":
        return values
    orientation = read_orientation(content)
    return turn_upright(values, {6: 8, 8: 6}.get(orientation, orientation))
