"""Exported bundles for all tests of the export: of whole pictures, and of windows with clicks."""

from pathlib import Path

import pytest
import torch

from sameo_model.export.bundle import export_bundle
from sameo_model.modeling import Sameo, build_sameo


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
def small_network() -> Sameo:
    return build_trained("efficient_sam_vitt")


@pytest.fixture(scope="session")
def small_bundle(small_network: Sameo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "small_vitt"
    export_bundle(small_network, folder, training={"steps": 0}, scores={"miou_full": 0.5})
    return folder


@pytest.fixture(scope="session")
def window_network() -> Sameo:
    return build_trained("sameo_lite")


@pytest.fixture(scope="session")
def window_bundle(window_network: Sameo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "small_lite"
    export_bundle(window_network, folder, points=True)
    return folder
