"""Whole objects cut out of photographs: images with an alpha channel, checked and read."""

from __future__ import annotations

import logging
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from sameo_model.runtime.images import without_hidden
from sameo_model.synthesis.blocks import digest_files

CUTOUT_SUFFIXES = (".png", ".webp", ".tif", ".tiff")
MAX_PIXELS = 50_000_000  # 200 MB decoded; a phone's largest images have this many
MAX_SIDE_PX = 640  # larger ones are shrunk once when read
MIN_OBJECT_PX = 400  # smaller objects have no shape left to learn
MAX_OPAQUE_SHARE = 0.995  # of the image; more is a photograph, not an object cut out of one
RIM_PX = 2  # pixels inside the outline that may still show the old background
_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")
_READ_CACHE = 256
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cutout:
    """One whole object."""

    # (h, w, 3), RGB; outside the object and at its rim the nearest inner colour
    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8]  # (h, w), 0 outside, 255 on the object, tight


@dataclass(frozen=True)
class Cutouts:
    """A folder of cut-outs, read when drawn."""

    paths: tuple[Path, ...]  # files, in order of their path inside the folder
    categories: tuple[str, ...]
    digest: str  # of names and contents, so that a set is only continued with the same cut-outs

    def draw(self, rng: np.random.Generator) -> tuple[Cutout, str]:
        """Return a random cut-out and its class name."""
        number = int(rng.integers(len(self.paths)))
        return read_cutout(self.paths[number]), self.categories[number]


def find_cutouts(folder: Path) -> Cutouts:
    """Return the cut-outs in a folder and its subfolders; unusable ones are named and left out.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no cut-out that can be used.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the folder of cut-outs must exist, got {folder}; correct --cutouts"
        )
    paths = sorted(
        path
        for path in without_hidden(folder.rglob("*"), folder)
        if path.suffix.lower() in CUTOUT_SUFFIXES
    )
    sound = []
    for path in paths:
        try:
            _read_tight(path)
        except ValueError as error:
            _LOG.warning("cut-out %s; it is left out", error)
            continue
        sound.append(path)
    if not sound:
        raise ValueError(
            f"{folder} must hold images of whole objects with an alpha channel "
            f"({', '.join(CUTOUT_SUFFIXES)}), got {len(paths)} such files, none of which can be "
            f"used; correct --cutouts"
        )
    names = tuple(category_name(path, folder) for path in sound)
    return Cutouts(tuple(sound), names, digest_files(folder, sound))


def category_name(path: Path, folder: Path) -> str:
    """Return the class that a file's name says: its text without the number at the end.

    `bottle_017.png` is a bottle; where the name is a number, its folder inside `folder` decides.
    """
    parts = [path.stem, *reversed(path.relative_to(folder).parent.parts)]
    for part in parts:
        name = re.sub(r"[\W\d_]+$", "", part)
        if name:
            return name
    return "object"


@lru_cache(maxsize=_READ_CACHE)
def read_cutout(path: Path) -> Cutout:
    """Read a cut-out, tight around its object, shrunk if it is large.

    Raises:
        ValueError: If the file is no cut-out.
    """
    rgba = _read_tight(path)
    rgb, alpha = clean_rim(rgba[..., :3], rgba[..., 3]), rgba[..., 3]
    return Cutout(np.ascontiguousarray(rgb), np.ascontiguousarray(alpha))


def clean_rim(rgb: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Replace colours at and beyond an object's rim, where its old background shines through.

    Args:
        rgb: uint8 (h, w, 3).
        alpha: uint8 (h, w).

    Returns:
        uint8 (h, w, 3); what lies less than `RIM_PX` inside has the colour of the nearest pixel
        further inside. Thin objects, of which too little would be left, keep theirs.
    """
    solid = np.pad((alpha >= 250).astype(np.uint8), 1)
    inner = cv2.erode(solid, np.ones((3, 3), np.uint8), iterations=RIM_PX)[1:-1, 1:-1]
    if np.count_nonzero(inner) < 0.5 * np.count_nonzero(alpha > 127):
        inner = (alpha >= 250).astype(np.uint8)
    if not inner.any():
        return rgb
    _, labels = cv2.distanceTransformWithLabels(
        1 - inner, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    is_inner = inner > 0
    colours = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    colours[labels[is_inner]] = rgb[is_inner]
    return colours[labels]


def _read_tight(path: Path) -> NDArray[np.uint8]:
    """Return a cut-out's pixels tight around its object, at most `MAX_SIDE_PX` long.

    Returns:
        uint8 (h, w, 4), RGBA.

    Raises:
        ValueError: If the file is no cut-out, or too little of its object is left.
    """
    rgba = _decode(path)
    x, y, width, height = cv2.boundingRect((rgba[..., 3] > 8).astype(np.uint8))
    rgba = rgba[y : y + height, x : x + width]
    scale = MAX_SIDE_PX / max(height, width)
    if scale < 1:
        size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
        rgba = np.asarray(cv2.resize(rgba, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        left = int(np.count_nonzero(rgba[..., 3] > 127))
        if left < MIN_OBJECT_PX:
            raise ValueError(
                f"{path} must show at least {MIN_OBJECT_PX} pixels of an object when it is shrunk "
                f"to {MAX_SIDE_PX}, got {left}: the object is too thin, or stray pixels lie far off"
            )
    return rgba


def _decode(path: Path) -> NDArray[np.uint8]:
    """Return a cut-out's pixels, uint8 (H, W, 4), RGBA.

    Raises:
        ValueError: If it is too large, damaged, without alpha, or shows no object.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about sizes, which are checked here
            image = PilImage.open(path)
    except (OSError, SyntaxError, ValueError, PilImage.DecompressionBombError) as error:
        raise ValueError(f"{path} must be a readable image, but is not ({error})") from error
    with image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise ValueError(
                f"{path} must have at most {MAX_PIXELS // 10**6} million pixels, got {width} x "
                f"{height}; shrink it"
            )
        if image.mode not in _ALPHA_MODES and "transparency" not in image.info:
            raise ValueError(f"{path} must have an alpha channel, got mode {image.mode}")
        try:
            rgba = np.asarray(image.convert("RGBA"))
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise ValueError(f"{path} must be a whole image, but is damaged ({error})") from error
    covered = int(np.count_nonzero(rgba[..., 3] > 127))
    if covered < MIN_OBJECT_PX:
        kind = "is transparent everywhere" if not covered else f"shows {covered} pixels"
        raise ValueError(
            f"{path} must show at least {MIN_OBJECT_PX} pixels of an object, it {kind}"
        )
    if covered > MAX_OPAQUE_SHARE * height * width:
        raise ValueError(f"{path} must be transparent around its object, but is opaque all over")
    return rgba
