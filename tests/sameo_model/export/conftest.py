"""One exported bundle for all tests of the export."""

from pathlib import Path

import pytest
import torch

from sameo_model.export.bundle import export_bundle
from sameo_model.modeling import Sameo, build_sameo


@pytest.fixture(scope="session")
def small_lite() -> Sameo:
    torch.manual_seed(5)
    model = build_sameo("sameo_lite", 64, visible_decoder=True)
    # Weights of both signs in every norm, as after training; random ones are all 1 and 0.
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 1 and "norm" in name:
                value.add_(0.2 * torch.randn_like(value))
    return model


@pytest.fixture(scope="session")
def small_bundle(small_lite: Sameo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "small_lite"
    export_bundle(small_lite, folder, training={"steps": 0}, scores={"miou_full": 0.5})
    return folder
