"""Paint random procedural textures; all are uint8 (S, S, 3), RGB, 0-255."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Rng = np.random.Generator
TEXTURE_SIZE = 256
MAX_TEXTURE_PX = 512  # of textures that objects bring along
_LETTERS = "ABCDEFGHIJKLMNOPRSTUVWXYZabcdefghiklmnoprstuvwz0123456789&%"


def random_rgb(rng: Rng) -> NDArray[np.float64]:
    """Draw a colour float64 (3,) in [0, 1]: greys, pastels and saturated ones alike."""
    kind = rng.random()
    saturation = rng.uniform(0, 0.1) if kind < 0.25 else rng.uniform(0.15, 1.0)
    value = rng.uniform(0.05, 1.0) if kind < 0.5 else rng.uniform(0.4, 1.0)
    return np.array(colorsys.hsv_to_rgb(rng.random(), saturation, value))


def shrink(image: Image, longest_px: int) -> Image:
    """Return an image uint8 (H, W, 3), RGB, of which no side is longer than `longest_px`."""
    height, width = image.shape[:2]
    scale = min(1.0, longest_px / max(height, width))
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)


def smooth_noise(rng: Rng, size: int, cells: int, stretch: float = 1.0) -> NDArray[np.float32]:
    """Return float32 (size, size) in [0, 1]: random values on a grid, interpolated."""
    rows, columns = max(2, cells), max(2, round(cells * stretch))
    grid = rng.random((rows, columns), dtype=np.float32)
    return np.clip(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), 0, 1)


def fractal_noise(rng: Rng, size: int, cells: int, stretch: float = 1.0) -> NDArray[np.float32]:
    """Return float32 (size, size) in [0, 1]: octaves of smooth noise."""
    octaves = [smooth_noise(rng, size, cells * 2**k, stretch) * 0.5**k for k in range(4)]
    return np.asarray(sum(octaves) / sum(0.5**k for k in range(4)), dtype=np.float32)


def blend(
    first: NDArray[np.float64], second: NDArray[np.float64], share: NDArray[np.float32]
) -> Image:
    """Mix two colours in [0, 1] by a map (S, S) of the second one's share."""
    mixed = first + (second - first) * share[..., None]
    return np.asarray(np.clip(mixed * 255, 0, 255), dtype=np.uint8)


def plain(rng: Rng, size: int) -> Image:
    """One colour, slightly uneven."""
    colour = random_rgb(rng)
    return blend(colour * rng.uniform(0.85, 1), colour, fractal_noise(rng, size, 4))


def gradient(rng: Rng, size: int) -> Image:
    """Two colours that fade into each other along a direction."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    share = np.clip(0.5 + np.cos(angle) * x + np.sin(angle) * y, 0, 1)
    return blend(random_rgb(rng), random_rgb(rng), share.astype(np.float32))


def clouds(rng: Rng, size: int) -> Image:
    """Fractal noise between two colours."""
    return blend(
        random_rgb(rng), random_rgb(rng), fractal_noise(rng, size, int(rng.integers(2, 16)))
    )


def grain(rng: Rng, size: int) -> Image:
    """Fine speckles, like stone or cardboard."""
    colour = random_rgb(rng)
    raw = rng.random((size, size), dtype=np.float32)
    noise = np.asarray(cv2.GaussianBlur(raw, (0, 0), rng.uniform(0.4, 2.0)), dtype=np.float32)
    share = np.clip((noise - noise.mean()) / (4 * noise.std()) + 0.5, 0, 1)
    return blend(colour * rng.uniform(0.5, 0.9), colour, share)


def stripes(rng: Rng, size: int) -> Image:
    """Stripes, straight or warped."""
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    y, x = np.mgrid[0:size, 0:size].astype(np.float32) / size
    phase = (np.cos(angle) * x + np.sin(angle) * y) * rng.integers(2, 24)
    phase += fractal_noise(rng, size, 3) * rng.choice([0.0, 1.0, 3.0])
    share = (np.mod(phase, 1) < rng.uniform(0.2, 0.8)).astype(np.float32)
    return blend(random_rgb(rng), random_rgb(rng), share)


def checks(rng: Rng, size: int) -> Image:
    """A chequered pattern or tartan."""
    cells = int(rng.integers(2, 16))
    y, x = np.mgrid[0:size, 0:size] * cells // size
    even = ((x + y) % 2).astype(np.float32)
    tartan = ((x % 2) * 0.5 + (y % 2) * 0.5).astype(np.float32)
    return blend(random_rgb(rng), random_rgb(rng), even if rng.random() < 0.5 else tartan)


def blobs(rng: Rng, size: int) -> Image:
    """Dots, discs and polygons scattered on a ground."""
    canvas = plain(rng, size)
    radius = size * rng.uniform(0.01, 0.12)
    colours = [random_rgb(rng) * 255 for _ in range(int(rng.integers(1, 5)))]
    for _ in range(int(rng.integers(8, 80))):
        centre = rng.uniform(0, size, 2)
        colour = colours[int(rng.integers(len(colours)))]
        corners = int(rng.choice([3, 4, 5, 24]))
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False) + rng.uniform(0, 6)
        polygon = centre + radius * rng.uniform(0.5, 1.5) * np.stack(
            [np.cos(angles), np.sin(angles)], 1
        )
        cv2.fillPoly(canvas, [polygon.astype(np.int32)], colour.tolist(), cv2.LINE_AA)
    return canvas


def wood(rng: Rng, size: int) -> Image:
    """Wood grain in browns or painted colours."""
    brown = np.array(
        colorsys.hsv_to_rgb(rng.uniform(0.05, 0.12), rng.uniform(0.2, 0.7), rng.uniform(0.3, 0.95))
    )
    base = brown if rng.random() < 0.8 else random_rgb(rng)
    bands = fractal_noise(rng, size, 4, stretch=rng.uniform(0.1, 0.3)) * rng.integers(3, 12)
    share = (0.5 + 0.5 * np.sin(2 * np.pi * bands)) * 0.6 + 0.4 * fractal_noise(rng, size, 48, 0.05)
    board = blend(base * rng.uniform(0.55, 0.85), base, share.astype(np.float32))
    return np.ascontiguousarray(board.swapaxes(0, 1)) if rng.random() < 0.5 else board


def fabric(rng: Rng, size: int) -> Image:
    """A woven cloth."""
    period = int(rng.integers(4, 12))
    y, x = np.mgrid[0:size, 0:size]
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * x / period) + 0.25 * np.sin(2 * np.pi * y / period)
    weave = weave * 0.7 + 0.3 * rng.random((size, size))
    colour = random_rgb(rng)
    other = colour * rng.uniform(0.4, 0.8) if rng.random() < 0.7 else random_rgb(rng)
    return blend(other, colour, weave.astype(np.float32))


def write_text(rng: Rng, canvas: Image, origin_xy: NDArray[np.float64], height: float) -> None:
    """Write a few random letters into `canvas`; height in pixels."""
    text = "".join(rng.choice(list(_LETTERS), int(rng.integers(3, 10))))
    face = int(
        rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_TRIPLEX])
    )
    thickness = max(1, round(height * rng.uniform(0.05, 0.2)))
    colour = (random_rgb(rng) * 255).tolist()
    position = (int(origin_xy[0]), int(origin_xy[1]))
    cv2.putText(canvas, text, position, face, height / 22, colour, thickness, cv2.LINE_AA)


def packaging(rng: Rng, size: int) -> Image:
    """A printed package: panels, discs, headlines, small print and a bar code."""
    canvas = (gradient if rng.random() < 0.4 else plain)(rng, size)
    for _ in range(int(rng.integers(2, 9))):
        a = rng.uniform(0, size, 2)
        b = a + rng.uniform(0.1, 0.7, 2) * size
        colour = (random_rgb(rng) * 255).tolist()
        if rng.random() < 0.65:
            cv2.rectangle(canvas, a.astype(int).tolist(), b.astype(int).tolist(), colour, -1)
        else:
            axes = ((b - a) / 2).astype(int).tolist()
            cv2.ellipse(
                canvas, ((a + b) / 2).astype(int).tolist(), axes, 0, 0, 360, colour, -1, cv2.LINE_AA
            )
    for _ in range(int(rng.integers(1, 8))):
        write_text(rng, canvas, rng.uniform(-0.1, 0.9, 2) * size, size * rng.uniform(0.03, 0.2))
    if rng.random() < 0.5:
        x0, y0 = (rng.uniform(0, 0.7, 2) * size).astype(int)
        bars = np.repeat(rng.integers(0, 2, size // 8) * 255, 2).astype(np.uint8)
        patch = np.broadcast_to(bars[None, :, None], (size // 8, len(bars), 3))
        view = canvas[y0 : y0 + size // 8, x0 : x0 + len(bars)]
        view[:] = patch[: view.shape[0], : view.shape[1]]
    return canvas


def bands(rng: Rng, size: int) -> Image:
    """Horizontal bands with writing, like the label of a can or bottle."""
    canvas = plain(rng, size)
    for _ in range(int(rng.integers(1, 5))):
        top, height = rng.uniform(0, size), rng.uniform(0.04, 0.5) * size
        cv2.rectangle(
            canvas, (0, int(top)), (size, int(top + height)), (random_rgb(rng) * 255).tolist(), -1
        )
    for _ in range(int(rng.integers(0, 6))):
        write_text(rng, canvas, rng.uniform(0, 0.8, 2) * size, size * rng.uniform(0.04, 0.2))
    return canvas


OBJECT_PAINTERS: dict[str, tuple[Callable[[Rng, int], Image], float]] = {
    "plain": (plain, 3.0),
    "gradient": (gradient, 0.7),
    "clouds": (clouds, 1.0),
    "grain": (grain, 1.0),
    "stripes": (stripes, 0.8),
    "checks": (checks, 0.5),
    "blobs": (blobs, 0.8),
    "wood": (wood, 1.0),
    "fabric": (fabric, 0.6),
    "packaging": (packaging, 2.2),
    "bands": (bands, 1.5),
}
GROUND_PAINTERS: dict[str, tuple[Callable[[Rng, int], Image], float]] = {
    "plain": (plain, 1.5),
    "clouds": (clouds, 1.0),
    "grain": (grain, 2.0),
    "stripes": (stripes, 0.4),
    "checks": (checks, 0.5),
    "blobs": (blobs, 0.3),
    "wood": (wood, 3.0),
    "fabric": (fabric, 1.5),
    "gradient": (gradient, 0.3),
    "packaging": (packaging, 0.3),
}


def paint_texture(
    rng: Rng,
    painters: dict[str, tuple[Callable[[Rng, int], Image], float]],
    size: int = TEXTURE_SIZE,
) -> Image:
    """Draw a painter by its weight and return its texture, uint8 (size, size, 3), RGB, 0-255."""
    weights = np.array([weight for _, weight in painters.values()])
    choice = int(rng.choice(len(painters), p=weights / weights.sum()))
    return np.ascontiguousarray(list(painters.values())[choice][0](rng, size))
