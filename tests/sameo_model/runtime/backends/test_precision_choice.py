"""bf16 is chosen where it is faster and keeps the masks, and the choice is kept."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from sameo_model.runtime.backends.base import (
    Backend,
    BackendOptions,
    DecoderOutput,
    build_backend,
)
from sameo_model.runtime.backends.precision_choice import (
    CHOICE_NAME,
    choose_precision,
    is_refused,
)
from sameo_model.runtime.bundle import load_bundle
from tests.bundles import make_tiny_bundle


class Stand(Backend):
    """Takes a given time and draws the left part of the image."""

    has_visible_decoder = True

    def __init__(self, encode_s: float, columns: int, value: float = 1.0) -> None:
        self.encode_s = encode_s
        self.logits = np.full((6, 16, 16), -1.0, np.float32)
        self.logits[:, :, :columns] = value

    def encode(self, image):
        deadline_s = time.process_time() + self.encode_s
        while time.process_time() < deadline_s:
            pass

    def decode(self, handle, boxes, visible):
        return DecoderOutput(self.logits, np.ones(6, np.float32), self.logits)


@pytest.fixture
def bundle(tmp_path):
    return load_bundle(make_tiny_bundle(tmp_path / "bundle"))


@pytest.mark.parametrize(
    ("stands", "expected"),
    [
        ({"f32": Stand(0.03, 8), "bf16": Stand(0.0, 8)}, "bf16"),
        ({"f32": Stand(0.0, 8), "bf16": Stand(0.03, 8)}, "f32"),
        # 9 instead of 8 columns: an IoU of 8 / 9.
        ({"f32": Stand(0.03, 8), "bf16": Stand(0.0, 9)}, "f32"),
        ({"f32": Stand(0.03, 8), "bf16": Stand(0.0, 8, np.inf)}, "f32"),
    ],
    ids=["faster and equal", "slower", "other masks", "infinite logits"],
)
def test_bf16_must_be_faster_and_keep_the_masks(bundle, tmp_path, stands, expected):
    assert choose_precision(bundle, tmp_path, stands.__getitem__) == expected
    assert json.loads((tmp_path / CHOICE_NAME).read_text())["precision"] == expected


def test_a_kept_choice_is_not_measured_again(bundle, tmp_path):
    (tmp_path / CHOICE_NAME).write_text('{"precision": "bf16"}')
    assert choose_precision(bundle, tmp_path, {}.__getitem__) == "bf16"


def with_verified(bundle, verified):
    return replace(bundle, info=replace(bundle.info, scores={"verified": verified}))


def test_a_precision_that_the_export_found_not_to_hold_is_not_taken(bundle, tmp_path):
    pytest.importorskip("openvino", reason="openvino is not installed")
    refusing = with_verified(bundle, {"openvino": {"bf16": {"holds": False}}})
    options = BackendOptions(precision="bf16", cache_dir=tmp_path)
    with pytest.raises(ValueError, match="tiny keeps its masks; got 'bf16', which its export"):
        build_backend("openvino", refusing, options)
    # Even if this machine measured, before the export said so, that it is faster.
    backend = build_backend("openvino", refusing, BackendOptions(cache_dir=tmp_path))
    assert backend.device == "CPU, f32"
    backend.close()


@pytest.mark.parametrize(
    "verified", [{}, {"openvino": {"bf16": {"holds": True}}}, {"openvino": []}, "yes", None]
)
def test_a_precision_that_holds_or_was_not_verified_may_be_taken(bundle, verified):
    assert not is_refused(with_verified(bundle, verified), "openvino", "bf16")


@pytest.mark.parametrize("content", ["", "{}", '{"precision": "f8"}', "[]"])
def test_a_damaged_choice_is_measured_again(bundle, tmp_path, content):
    (tmp_path / CHOICE_NAME).write_text(content)
    stands = {"f32": Stand(0.0, 8), "bf16": Stand(0.03, 8)}
    assert choose_precision(bundle, tmp_path, stands.__getitem__) == "f32"
