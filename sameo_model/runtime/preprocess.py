"""Images in: reading files and squashing to the model's square input (training uses it too)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.types import Uint8Array


def resize_image(image_rgb: Uint8Array, image_size: int) -> Uint8Array:
    """Squash an image to the model's square input; the aspect ratio is not kept.

    Bilinear without antialiasing, pixel centres at half-integers (PyTorch's
    ``align_corners=False``), rounded to whole values: what the EfficientSAM reference does.

    Args:
        image_rgb: uint8 (H, W, 3), RGB; any strides.
        image_size: Side S of the model's input, pixels.

    Returns:
        uint8 (S, S, 3), RGB, contiguous.

    Raises:
        ValueError: If the image is not uint8 of shape (H, W, 3) with at least one pixel.
    """
    check_image(image_rgb)
    resized = cv2.resize(image_rgb, (image_size, image_size), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(resized, dtype=np.uint8)


def check_image(image_rgb: npt.NDArray[np.generic]) -> None:
    """Raise ValueError unless the image is uint8 (H, W, 3) with at least one pixel."""
    is_array = isinstance(image_rgb, np.ndarray)
    if is_array and image_rgb.dtype == np.uint8 and image_rgb.shape[2:] == (3,) and image_rgb.size:
        return
    got = f"{image_rgb.dtype} {image_rgb.shape}" if is_array else type(image_rgb).__name__
    raise ValueError(
        f"image_rgb must be a uint8 array of shape (H, W, 3) in RGB order; got {got}: convert it, "
        "or read files with sameo_model.runtime.preprocess.read_image"
    )


def read_image(path: str | Path) -> Uint8Array:
    """Read a picture's pixels as they are stored; an EXIF rotation is not applied.

    Annotation files speak of stored pixels, hence no rotation.

    Args:
        path: A PNG, JPEG or any other format that OpenCV reads.

    Returns:
        uint8 (H, W, 3), RGB, 0-255.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not a picture that can be read.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {path} does not exist; check the path")
    data = np.fromfile(path, dtype=np.uint8)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image_bgr = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        image_bgr = None
    if image_bgr is None:
        raise ValueError(f"image {path} cannot be read; give a whole PNG or JPEG file")
    return np.asarray(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB), dtype=np.uint8)
