"""Real photographs as surfaces: random crops for tables, walls and objects, skies around them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sameo_model.runtime.images import is_readable, read_decoded_image, without_hidden
from sameo_model.synthesis.blocks import digest_files
from sameo_model.synthesis.textures import (
    OBJECT_PAINTERS,
    TEXTURE_SIZE,
    Image,
    paint_texture,
    shrink,
)

Rng = np.random.Generator
PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_SIDE_PX = 1280  # larger ones are shrunk once when read: an image shows no more of them
OBJECT_SHARE = 0.4  # of painted objects that show a photograph
_MIN_SIDE_PX = 32
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Photographs:
    """A set of photographs, read when drawn."""

    paths: tuple[Path, ...]  # files, in order of their path inside the folder
    digest: str  # of names and contents, so that a set is only continued with the same photographs

    def crop(self, rng: Rng, size: int, *, mirrored: bool = False) -> Image:
        """Return a random crop of a random photograph.

        Args:
            size: Side of the result in pixels.
            mirrored: Join the crop with its mirror images, so that it repeats without seams.

        Returns:
            uint8 (size, size, 3), RGB, 0-255.
        """
        photograph = self._draw(rng)
        rows, columns = photograph.shape[:2]
        side = max(16, int(min(rows, columns) * np.exp(rng.uniform(np.log(0.15), 0.0))))
        y, x = int(rng.integers(rows - side + 1)), int(rng.integers(columns - side + 1))
        crop = photograph[y : y + side, x : x + side]
        inner = size // 2 if mirrored else size
        interpolation = cv2.INTER_AREA if side > inner else cv2.INTER_LINEAR
        crop = np.asarray(cv2.resize(crop, (inner, inner), interpolation=interpolation), np.uint8)
        crop = np.rot90(crop, int(rng.integers(4)))
        if mirrored:
            crop = np.concatenate([crop, crop[::-1]], axis=0)
            crop = np.concatenate([crop, crop[:, ::-1]], axis=1)
        return vary_colours(rng, np.ascontiguousarray(crop))

    def sky(self, rng: Rng, size: int = 512) -> Image:
        """Return one photograph bent around the scene, seen twice around the horizon.

        Args:
            size: Side of a face of the cube in pixels.

        Returns:
            uint8 (6 * size, size, 3), RGB, 0-255: the cube's faces right, left, up, down, front,
            back from top to bottom, for a sky box whose up is +y.
        """
        photograph = self._draw(rng)
        rows, columns = photograph.shape[:2]
        azimuth, elevation = _cube_angles(size)
        turns = azimuth / (2 * np.pi) + rng.random()
        turns -= np.floor(turns)
        u = _there_and_back(2 * turns) * (columns - 1)  # no seam
        v = 0.5 - elevation / np.radians(rng.uniform(80, 150))
        v -= 2 * np.floor(v / 2)
        v = _there_and_back(v) * (rows - 1)
        sky = cv2.remap(
            photograph, u.astype(np.float32), v.astype(np.float32), interpolation=cv2.INTER_LINEAR
        )
        return vary_colours(rng, np.asarray(sky, np.uint8))

    def draw(self, rng: Rng) -> tuple[Image, Path]:
        """Return a random photograph, uint8 (H, W, 3), RGB, at most 1280 pixels long, and its file.

        The array is shared: change a copy.
        """
        path = self.paths[int(rng.integers(len(self.paths)))]
        return _read_shrunk(path), path

    def _draw(self, rng: Rng) -> Image:
        return self.draw(rng)[0]


def find_photographs(folder: Path) -> Photographs:
    """Return the photographs in a folder and its subfolders; unreadable ones are named and skipped.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no photograph that can be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the folder of photographs must exist, got {folder}; correct --photographs"
        )
    paths = list_photographs(folder)
    sound = []
    for path in paths:
        if is_readable(path.read_bytes(), _MIN_SIDE_PX):
            sound.append(path)
        else:
            _LOG.warning("photograph %s cannot be read or is tiny; it is left out", path)
    if not sound:
        raise ValueError(
            f"{folder} must hold photographs ({', '.join(PHOTO_SUFFIXES)}), got {len(paths)} such "
            f"files, none of which can be read; correct --photographs"
        )
    return Photographs(tuple(sound), digest_files(folder, sound))


def list_photographs(folder: Path) -> list[Path]:
    """Return the photographs in a folder and its subfolders, hidden ones left out, sorted."""
    files = without_hidden(folder.rglob("*"), folder)
    return sorted(path for path in files if path.suffix.lower() in PHOTO_SUFFIXES)


def paint_object(rng: Rng, photographs: Photographs | None = None) -> Image:
    """Return an object's texture, uint8 (S, S, 3), RGB, 0-255: painted, or often photographed."""
    if photographs is not None and rng.random() < OBJECT_SHARE:
        return photographs.crop(rng, TEXTURE_SIZE)
    return paint_texture(rng, OBJECT_PAINTERS)


def vary_colours(rng: Rng, image: Image) -> Image:
    """Return an image uint8 (H, W, 3), RGB, often paler, always a little brighter or darker."""
    pale = rng.uniform(0.0, 1.0) if rng.random() < 0.5 else 0.0
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3))
    if not pale:
        table = np.clip(np.arange(256)[:, None] * gain, 0, 255).astype(np.uint8)
        return np.asarray(cv2.LUT(image, table[None]), np.uint8)
    grey = np.add(image[..., 0], image[..., 1], dtype=np.float32)
    grey += image[..., 2]
    grey /= 3
    varied: NDArray[np.float32] = np.subtract(grey[..., None], image)
    varied *= pale
    varied += image
    bright = varied * gain
    return np.asarray(np.clip(bright, 0, 255, out=bright), dtype=np.uint8)


def _there_and_back(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return positions in [0, 1] that rise and fall again as the given ones go from 0 to 2."""
    position -= 1
    np.abs(position, out=position)
    return np.subtract(1, position, out=position)


@lru_cache(maxsize=64)
def _read_shrunk(path: Path) -> Image:
    return shrink(read_decoded_image(path).image_rgb, MAX_SIDE_PX)


@lru_cache(maxsize=1)
def _cube_angles(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return azimuth and elevation in radians, float64 (6 * size, size), of a cube's pixels."""
    ticks = (np.arange(size) + 0.5) / size * 2 - 1
    y, x = np.meshgrid(-ticks, ticks, indexing="ij")
    one = np.ones_like(x)
    # Faces as OpenGL names them: +x, -x, +y, -y, +z, -z, each as seen from inside the cube.
    faces = [(one, y, -x), (-one, y, x), (x, one, -y), (x, -one, y), (x, y, one), (-x, y, -one)]
    direction = np.concatenate([np.stack(face, axis=-1) for face in faces])
    azimuth = np.arctan2(direction[..., 0], direction[..., 2])
    horizontal = np.hypot(direction[..., 0], direction[..., 2])
    return azimuth, np.arctan2(direction[..., 1], horizontal)
