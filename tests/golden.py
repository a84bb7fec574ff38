"""Weights and an image that follow from a formula, and the reference's answers to them."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "data" / "golden"


def state_shapes(preset: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the reference's state dict."""
    content = json.loads((FOLDER / f"{preset}_state_dict.json").read_text())
    return {name: tuple(shape) for name, shape in content.items()}


def state_dict(preset: str) -> dict[str, torch.Tensor]:
    """The weights with which the golden numbers were computed."""
    return {
        name: torch.from_numpy(weights(name, shape)) for name, shape in state_shapes(preset).items()
    }


def weights(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Normal numbers seeded by the tensor's name, scaled by what kind of tensor it is."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    values = generator.standard_normal(shape, dtype=np.float64)
    if name.endswith("positional_encoding_gaussian_matrix"):
        return values.astype(np.float32)
    if name.endswith("bias"):
        return (0.05 * values).astype(np.float32)
    if len(shape) == 1:
        return (1.0 + 0.05 * values).astype(np.float32)
    fan_in = max(1, int(np.prod(shape)) // shape[0])
    return (values / np.sqrt(fan_in)).astype(np.float32)


def image() -> torch.Tensor:
    """Waves with noise, float32 (1, 3, 480, 640) in [0, 1]."""
    height, width = 480, 640
    generator = np.random.Generator(np.random.PCG64(7))
    y = np.linspace(0.0, 1.0, height)[:, None]
    x = np.linspace(0.0, 1.0, width)[None, :]
    channels = []
    for k in (1, 2, 3):
        wave = 0.5 + 0.25 * np.sin(2 * np.pi * k * y) + 0.25 * np.cos(2 * np.pi * (k + 1) * x)
        noise = 0.05 * generator.standard_normal((height, width))
        channels.append(np.clip(wave + noise, 0, 1))
    return torch.from_numpy(np.stack(channels)[None].astype(np.float32))


def answers(case: str) -> dict[str, torch.Tensor]:
    """The reference's outputs."""
    with np.load(FOLDER / f"{case}.npz") as file:
        return {key: torch.from_numpy(file[key]) for key in file.files}
