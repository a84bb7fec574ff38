"""Exported bundles for all tests of the export: of whole images, and of windows with clicks.

Tracing takes seconds that grow with the layers, so the networks have few layers of each kind.
"""

import fcntl
import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from sameo_model.export import bundle as exporting
from sameo_model.export.bundle import export_bundle
from sameo_model.modeling import Sameo, build_sameo
from sameo_model.modeling.image_encoder import VitImageEncoder
from sameo_model.modeling.lite_decoder import LiteMaskDecoder
from sameo_model.modeling.lite_encoder import LiteImageEncoder
from sameo_model.modeling.presets import PRESETS
from sameo_model.modeling.transformer import TwoWayTransformer

SHALLOW_VIT, SHALLOW_LITE = "shallow_vit", "shallow_lite"


def _lite_encoder() -> LiteImageEncoder:
    """The encoder without the blocks that only repeat others."""
    encoder = LiteImageEncoder()
    for index in (4, 6, 7, 9, 10, 12, 13, 14):
        encoder.backbone.blocks[index] = nn.Identity()
    return encoder


def _lite_decoder() -> LiteMaskDecoder:
    decoder = LiteMaskDecoder()
    decoder.transformer = TwoWayTransformer(mlp_dim=1024, depth=1)
    return decoder


@pytest.fixture(scope="session", autouse=True)
def shallow_presets():
    vit = partial(VitImageEncoder, embed_dim=192, num_heads=3, depth=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(
            PRESETS,
            SHALLOW_VIT,
            replace(PRESETS["efficient_sam_vitt"], build_image_encoder=vit),
        )
        lite = replace(
            PRESETS["sameo_lite"],
            build_image_encoder=_lite_encoder,
            build_mask_decoder=_lite_decoder,
        )
        patch.setitem(PRESETS, SHALLOW_LITE, lite)
        yield


def build_trained(preset: str) -> Sameo:
    """Build a network whose norms are not all 1 and 0, as after training."""
    torch.manual_seed(5)
    model = build_sameo(preset, 64, visible_decoder=True)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if (value.ndim == 1 and "norm" in name) or "fine_filters" in name:
                value.add_(0.2 * torch.randn_like(value))
    return model


@pytest.fixture(scope="session")
def small_network(shallow_presets) -> Sameo:
    return build_trained(SHALLOW_VIT)


def export_once(factory: pytest.TempPathFactory, name: str, network: Sameo, **options) -> Path:
    """Export a bundle that the processes of pytest-xdist share."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # of the folders of all processes of this run
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / name).exists():
            export_bundle(network, shared / name, **options)
    return shared / name


@pytest.fixture(scope="session")
def small_bundle(small_network: Sameo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    record = {"training": {"steps": 0}, "scores": {"miou_full": 0.5}}
    return export_once(tmp_path_factory, "small_vit", small_network, **record)


@pytest.fixture
def no_tracing(small_bundle, monkeypatch):
    """Tracing takes seconds; where a test is about files, the graphs are those of the bundle."""
    monkeypatch.setattr(
        exporting, "_write_graphs", lambda model, draft: copy_graphs(small_bundle, draft)
    )


def copy_graphs(source: Path, target: Path) -> None:
    for path in source.glob("*_*coder.onnx"):
        (target / path.name).write_bytes(path.read_bytes())


@pytest.fixture(scope="session")
def window_network(shallow_presets) -> Sameo:
    return build_trained(SHALLOW_LITE)


@pytest.fixture(scope="session")
def window_bundle(window_network: Sameo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_once(tmp_path_factory, "small_lite", window_network, points=True)
