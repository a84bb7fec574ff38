"""Images in: squashing to the model's square input (training uses it too)."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from sameo_model.runtime.images import read_image
from sameo_model.runtime.types import Uint8Array

__all__ = ["check_image", "read_image", "resize_image"]


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
        "or read files with sameo_model.runtime.read_image"
    )
