"""The detector of the TensorRT backend on a recording double of the CUDA layer, and on a GPU."""

import logging
import threading
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime import load_predictor
from sameo_model.runtime.backends import tensorrt
from sameo_model.runtime.backends.base import BackendUnavailableError, build_backend
from sameo_model.runtime.backends.engine_build import graph_contract, shape_profile
from sameo_model.runtime.backends.engine_cache import EngineKey
from sameo_model.runtime.backends.engine_check import (
    check_against_reference,
    reference_scene,
    write_reference_boxes,
)
from sameo_model.runtime.backends.engine_plan import plan_engines
from sameo_model.runtime.backends.tensorrt import start_backend
from sameo_model.runtime.backends.tensorrt_flavour import Flavour
from sameo_model.runtime.bundle import load_bundle
from sameo_model.runtime.predictor import Predictor
from tests.bundles import (
    TINY_BOXES,
    TINY_SHARES,
    add_tiny_detector,
    make_tiny_bundle,
    make_tiny_window_bundle,
)
from tests.recording_gpu import RecordingGpu

SIZE = 64
# Cells of 8, 16 and 32 pixels.
NUM_CELLS = 8 * 8 + 4 * 4 + 2 * 2
IMAGE_BYTES, OUTPUT_BYTES = SIZE * SIZE * 3, [NUM_CELLS * 16, NUM_CELLS * 16, NUM_CELLS * 4]


def add_detector(folder):
    missing = NUM_CELLS - len(TINY_BOXES)
    return add_tiny_detector(
        folder, (*TINY_BOXES, *[(0, 0, 0, 0)] * missing), (*TINY_SHARES, *[0.0] * missing)
    )


@pytest.fixture(scope="module", params=[make_tiny_bundle, make_tiny_window_bundle])
def bundle(request, tmp_path_factory):
    return load_bundle(add_detector(request.param(tmp_path_factory.mktemp("bundle"))))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def start(bundle, gpu=None, new=(), forget=None):
    engines = {path.stem: str(path).encode() for path in bundle.folder.glob("*.onnx")}
    key = EngineKey("", "00", "tensorrt", "10.13", "a GPU", "8.6", "f32", "", "")
    plan = SimpleNamespace(
        flavour="tensorrt",
        precision="f32",
        keys={graph: replace(key, graph=graph) for graph in engines},
        load_or_build=lambda _: (engines, set(new)),
        forget=forget,
    )
    return start_backend(gpu or RecordingGpu(), bundle, plan)


def test_the_contract_is_the_design():
    assert graph_contract("detector", 512) == {
        "image": ("UINT8", (1, 512, 512, 3)),
        "boxes": ("FLOAT", (5376, 4)),
        "amodal_boxes": ("FLOAT", (5376, 4)),
        "scores": ("FLOAT", (5376,)),
    }
    assert shape_profile("detector") == "fixed"


def test_outputs_are_those_of_the_graph_and_outlive_the_next_image(bundle, image):
    expected = build_backend("onnxruntime", bundle).find_boxes(image)
    with closing(start(bundle)) as backend:
        found = backend.find_boxes(image)
        backend.find_boxes(np.zeros_like(image))
        assert "detector-" in backend.engine_key
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_predictor_finds_and_draws_with_it(bundle):
    predictor = Predictor(
        start(bundle),
        image_size=SIZE,
        name="tiny",
        framing=bundle.framing,
        detector=bundle.info.detector,
    )
    with predictor:
        objects = predictor.segment_all(np.full((128, 128, 3), 255, np.uint8))
    assert objects.detections.boxes_xyxy.tolist() == [[16, 16, 64, 80], [80, 80, 128, 128]]
    assert len(objects.prediction) == 2


def test_an_image_costs_one_upload_and_no_memory(bundle, image):
    gpu = RecordingGpu()
    with closing(start(bundle, gpu)) as backend:
        assert ("enqueue", "detector", 1) in gpu.calls  # run once when it was loaded
        gpu.calls.clear()
        backend.find_boxes(image)
        calls = [("upload", IMAGE_BYTES), ("enqueue", "detector", 1)]
        calls += [("download", num_bytes) for num_bytes in OUTPUT_BYTES]
        assert gpu.calls == [*calls, ("synchronise",)]
    assert all(engine.is_closed for engine in gpu.engines)


def test_a_wrong_image_thread_or_time_is_refused(bundle, image):
    errors = []

    def call():
        try:
            backend.find_boxes(image)
        except RuntimeError as error:
            errors.append(str(error))

    with closing(start(bundle)) as backend:
        with pytest.raises(ValueError, match=r"image must be uint8 \(64, 64, 3\), got"):
            backend.find_boxes(image[:32])
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    call()
    assert "must be called from the thread that built it" in errors[0]
    assert "is closed; load the predictor again" in errors[1]


def test_a_bundle_without_detector_says_so(tmp_path, image):
    with (
        closing(start(load_bundle(make_tiny_bundle(tmp_path)))) as backend,
        pytest.raises(ValueError, match="this bundle has none; export it with --detector"),
    ):
        backend.find_boxes(image)


def test_a_gpu_without_room_for_it_is_refused_and_left_clean(bundle):
    gpu = RecordingGpu(total_bytes=IMAGE_BYTES)
    with pytest.raises(BackendUnavailableError, match="too little memory"):
        start(bundle, gpu)
    gpu.close()
    assert [engine.is_closed for engine in gpu.engines] == [True]


@pytest.mark.parametrize("fault", ["boxes", "scores", "nothing"])
def test_a_new_engine_whose_boxes_are_wrong_is_deleted(tmp_path, monkeypatch, caplog, fault):
    caplog.set_level(logging.INFO)
    folder = add_detector(make_tiny_bundle(tmp_path))
    bundle, forgotten, gpu = load_bundle(folder), [], RecordingGpu()
    cells = build_backend("onnxruntime", bundle).find_boxes(reference_scene(SIZE)[0])
    wrong = {
        "boxes": cells._replace(boxes=cells.boxes + 4),
        "scores": cells._replace(scores=cells.scores + 0.2),
        "nothing": cells,
    }
    # Cells without area would have no IoU.
    monkeypatch.setattr("sameo_model.runtime.backends.engine_check._NUM_CELLS", 4)
    write_reference_boxes(folder, wrong[fault])
    if fault == "nothing":
        start(bundle, gpu, {"detector"}, forgotten.extend).close()
        assert "the detector's boxes have a mean IoU of 1.000 with the network's" in caplog.text
    else:
        with pytest.raises(RuntimeError, match="failed its check and was deleted: the detector's"):
            start(bundle, gpu, {"detector"}, forgotten.extend)
    assert forgotten == ([] if fault == "nothing" else ["detector"])
    assert gpu.num_closed == 1


def test_the_key_of_an_engine_knows_its_own_weights_alone(bundle, tmp_path):
    flavour = Flavour("tensorrt", "10.3.0", SimpleNamespace())

    def keys(**changes):
        files = {**bundle.info.files, "weights.safetensors": "1", "detector.safetensors": "2"}
        info = replace(bundle.info, files={**files, **changes})
        plan = plan_engines(replace(bundle, info=info), flavour, "Orin", (8, 7), tmp_path)
        return {graph: key.digest for graph, key in plan.keys.items()}

    first = keys()
    assert "detector" in first
    for file, changed in (
        ("detector.safetensors", {"detector"}),
        ("weights.safetensors", set(first) - {"detector"}),
        ("reference_boxes.npz", set()),
    ):
        other = keys(**{file: "3"})
        assert {graph for graph in first if first[graph] != other[graph]} == changed


@pytest.mark.gpu
def test_on_a_gpu_it_finds_what_onnx_runtime_finds(tmp_path):
    if reason := tensorrt.unavailable_reason():
        pytest.skip(reason)
    image, _ = reference_scene(512)
    with load_predictor(backend="tensorrt", cache_dir=tmp_path) as predictor:
        check_against_reference(predictor.backend, load_bundle())
        found = predictor.detect(image)
    with load_predictor(backend="onnxruntime") as predictor:
        expected = predictor.detect(image)
    np.testing.assert_allclose(found.boxes_xyxy, expected.boxes_xyxy, atol=1)
    np.testing.assert_allclose(found.scores, expected.scores, atol=0.01)
