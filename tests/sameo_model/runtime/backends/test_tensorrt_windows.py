"""The window backend's own work on a recording double of the CUDA layer; no engine runs here."""

from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime.backends.base import BackendUnavailableError, build_backend
from sameo_model.runtime.backends.engine_build import graph_contract
from sameo_model.runtime.backends.engine_cache import EngineKey
from sameo_model.runtime.backends.tensorrt import start_backend
from sameo_model.runtime.backends.tensorrt_windows import TensorRtWindows
from sameo_model.runtime.bundle import load_bundle
from sameo_model.runtime.predictor import Predictor
from tests.bundles import make_tiny_window_bundle
from tests.recording_gpu import RecordingGpu

SIZE = 64
BOXES = np.array([[8, 8, 40, 56], [0, 0, 64, 64], [3.5, 7.25, 9, 60]], np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(make_tiny_window_bundle(tmp_path_factory.mktemp("windows")))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


def start(bundle, gpu=None):
    path = str(bundle.window_segmenter).encode()
    return TensorRtWindows(gpu or RecordingGpu(), {"window_segmenter": path}, SIZE, "double")


def test_outputs_are_those_of_the_graph(bundle, images):
    with closing(start(bundle)) as backend:
        found = backend.segment(images, BOXES, True)
    expected = build_backend("onnxruntime", bundle).segment(images, BOXES, True)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_more_windows_than_fit_run_in_chunks_that_give_the_same_masks(bundle, images):
    many, boxes = np.tile(images, (4, 1, 1, 1)), np.tile(BOXES, (4, 1))
    # Memory for four windows of 12,288 + 2 * 4,096 + 20 bytes and their work, not for eight.
    gpu = RecordingGpu(total_bytes=100_000, scratch_per_box=4000)
    with closing(start(bundle, gpu)) as backend:
        assert backend.max_chunk == 4
        gpu.calls.clear()
        found = backend.segment(many, boxes, True)
        assert [call for call in gpu.calls if call[0] == "enqueue"] == [
            ("enqueue", "window_segmenter", 4)
        ] * 3
        assert gpu.counts()["allocate"] + gpu.counts()["pin"] == 0
    with closing(start(bundle)) as backend:
        whole = backend.segment(many, boxes, True)
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one, other)


def test_visible_masks_are_copied_only_when_wanted(bundle, images):
    gpu = RecordingGpu()
    with closing(start(bundle, gpu)) as backend:
        gpu.calls.clear()
        assert backend.segment(images, BOXES, False).visible_logits is None
        # 3 masks of 32 x 32 floats and 3 floats.
        assert [call[1] for call in gpu.calls if call[0] == "download"] == [12288, 12]
        assert backend.segment(images[:0], BOXES[:0], True).amodal_logits.shape == (0, 32, 32)


def test_a_gpu_without_memory_for_one_window_is_named(bundle):
    gpu = RecordingGpu(total_bytes=10_000)
    with pytest.raises(BackendUnavailableError, match="too little memory even for one box"):
        start(bundle, gpu)
    gpu.close()


def test_a_predictor_and_the_plan_of_a_bundle_take_this_backend(bundle):
    path = str(bundle.window_segmenter).encode()
    key = EngineKey("window_segmenter", "00", "tensorrt", "10.13", "a GPU", "8.6", "f32", "", "")
    plan = SimpleNamespace(
        flavour="tensorrt",
        precision="f32",
        keys={"window_segmenter": key},
        load_or_build=lambda _: ({"window_segmenter": path}, []),
    )
    backend = start_backend(RecordingGpu(), bundle, plan)
    predictor = Predictor(backend, image_size=SIZE, name="tiny", framing=bundle.framing)
    with predictor:
        prediction = predictor.decode(
            predictor.encode(np.zeros((64, 64, 3), np.uint8)), [[16, 16, 48, 48]]
        )
    # The window is the image itself: a side of 2 * 32.
    assert prediction.amodal_masks[0].box_xyxy == (16, 16, 48, 48)


def test_windows_have_no_encoder(bundle, images):
    with closing(start(bundle)) as backend:
        assert not backend.encodes_images
        assert backend.has_visible_decoder
        with pytest.raises(RuntimeError, match="has no image encoder; call segment"):
            backend.encode(images[0])
        with pytest.raises(RuntimeError, match="has no decoder of its own; call segment"):
            backend.decode(None, BOXES, True)


def test_the_contract_is_the_design():
    assert graph_contract("window_segmenter", 256) == {
        "images": ("UINT8", (-1, 256, 256, 3)),
        "boxes": ("FLOAT", (-1, 4)),
        "amodal_logits": ("FLOAT", (-1, 128, 128)),
        "visible_logits": ("FLOAT", (-1, 128, 128)),
        "predicted_iou": ("FLOAT", (-1,)),
    }
