"""The backend's own work on a recording double of the CUDA layer; no engine runs here."""

import gc
import logging
import threading
from contextlib import closing
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime import load_predictor
from sameo_model.runtime.backends import engine_plan, tensorrt
from sameo_model.runtime.backends.base import (
    BackendOptions,
    BackendUnavailableError,
    build_backend,
)
from sameo_model.runtime.backends.engine_cache import EngineKey
from sameo_model.runtime.backends.tensorrt import (
    NUM_EMBEDDINGS,
    TensorRtBackend,
    _check_options,
    start_backend,
)
from sameo_model.runtime.bundle import load_bundle
from sameo_model.runtime.predictor import Predictor
from tests.bundles import make_tiny_bundle
from tests.recording_gpu import RecordingGpu

SIZE = 64
# The tiny model at 64x64: an image is 12,288 bytes, its embedding 256 * 4 * 4 floats.
IMAGE_BYTES, EMBEDDING_BYTES = 12288, 16384
BOXES = np.array([[8, 8, 40, 56], [0, 0, 64, 64], [3.5, 7.25, 9, 60]], np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def start(bundle, gpu=None, **options):
    paths = {p.stem: str(p).encode() for p in bundle.folder.glob("*.onnx")}
    return TensorRtBackend(gpu or RecordingGpu(), paths, SIZE, "double", **options)


def test_outputs_are_those_of_the_graphs(bundle, image):
    backend, cpu = start(bundle), build_backend("onnxruntime", bundle)
    found = backend.decode(backend.encode(image), BOXES, True)
    expected = cpu.decode(cpu.encode(image), BOXES, True)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert found.amodal_logits[0, 8, 4] == pytest.approx(2.5)  # see test_backends


def test_the_engines_that_run_are_named_as_in_the_cache(bundle):
    engines = {path.stem: str(path).encode() for path in bundle.folder.glob("*.onnx")}
    rest = ("00", "tensorrt", "10.13", "a GPU", "8.6", "f32", "boxes 1/8/64", "")
    keys = {graph: EngineKey(graph, *rest) for graph in engines}
    plan = SimpleNamespace(
        flavour="tensorrt", precision="f32", keys=keys, load_or_build=lambda _: (engines, [])
    )
    with closing(start_backend(RecordingGpu(), bundle, plan)) as backend:
        names = backend.engine_key.split()
    assert [name.rsplit("-", 1)[0] for name in names] == sorted(engines)
    assert {f"{name}.engine" for name in names} == {key.file_name for key in keys.values()}


def test_a_predictor_runs_on_it(bundle, image):
    with Predictor(start(bundle), image_size=SIZE, name="tiny") as predictor:
        prediction = predictor.decode(predictor.encode(image), BOXES[:1])
    assert prediction.amodal_masks[0].box_xyxy == (8, 8, 40, 56)


def test_an_image_costs_one_upload_and_its_embedding_stays_on_the_gpu(bundle, image):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    gpu.calls.clear()
    handle = backend.encode(image)
    assert gpu.calls[:2] == [("upload", IMAGE_BYTES), ("enqueue", "image_encoder", 1)]
    assert gpu.counts()["upload"] == 1
    assert gpu.counts()["download"] == 0
    gpu.calls.clear()
    backend.decode(handle, BOXES, False)
    # 3 boxes of 16 bytes in; 3 masks of 16 x 16 floats and 3 floats out.
    assert [call for call in gpu.calls if call[0] == "upload"] == [("upload", 48)]
    assert [call[1] for call in gpu.calls if call[0] == "download"] == [3072, 12]


def test_the_visible_decoder_runs_only_when_asked(bundle, image):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    handle = backend.encode(image)
    gpu.calls.clear()
    assert backend.decode(handle, BOXES, False).visible_logits is None
    assert ("enqueue", "visible_decoder", 3) not in gpu.calls
    assert backend.decode(handle, BOXES, True).visible_logits is not None
    assert ("enqueue", "visible_decoder", 3) in gpu.calls


def test_a_model_without_visible_decoder_says_so(tmp_path, image):
    backend = start(load_bundle(make_tiny_bundle(tmp_path, visible=False)))
    assert not backend.has_visible_decoder
    assert backend.decode(backend.encode(image), BOXES, True).visible_logits is None


def test_nothing_is_allocated_after_warm_up(bundle, image):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    gpu.calls.clear()
    for count in (1, 3, 64, 100, 7):
        backend.decode(backend.encode(image), np.repeat(BOXES[:1], count, axis=0), True)
    assert gpu.counts()["allocate"] + gpu.counts()["pin"] + gpu.counts()["record"] == 0


def test_a_thousand_boxes_run_in_chunks(bundle, image):
    gpu = RecordingGpu()
    backend, cpu = start(bundle, gpu), build_backend("onnxruntime", bundle)
    corners = np.random.default_rng(1).uniform(0, 32, (1000, 2)).astype(np.float32)
    boxes = np.concatenate((corners, corners + 20), axis=1)
    handle = backend.encode(image)
    gpu.calls.clear()
    found = backend.decode(handle, boxes, False)
    counts = [call[2] for call in gpu.calls if call[0] == "enqueue"]
    assert counts == [64] * 15 + [40]  # 15 * 64 + 40 = 1000
    expected = cpu.decode(cpu.encode(image), boxes, False)
    np.testing.assert_allclose(found.amodal_logits, expected.amodal_logits, atol=1e-5)


def test_zero_boxes_start_nothing(bundle, image):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    handle = backend.encode(image)
    gpu.calls.clear()
    output = backend.decode(handle, np.zeros((0, 4), np.float32), True)
    assert output.amodal_logits.shape == output.visible_logits.shape == (0, 16, 16)
    assert gpu.calls == []


@pytest.mark.parametrize(
    "image", [np.zeros((32, 64, 3), np.uint8), np.zeros((64, 64, 3), np.float32)], ids=str
)
def test_an_image_of_another_size_or_type_is_refused(bundle, image):
    with pytest.raises(ValueError, match=r"image must be uint8 \(64, 64, 3\), got"):
        start(bundle).encode(image)


def test_a_handle_outlives_the_next_encode(bundle):
    backend = start(bundle)
    dark = backend.encode(np.zeros((SIZE, SIZE, 3), np.uint8))
    backend.encode(np.full((SIZE, SIZE, 3), 255, np.uint8))
    assert backend.decode(dark, BOXES, False).predicted_iou.max() == pytest.approx(0, abs=1e-6)


def test_outputs_outlive_the_next_decode(bundle, image):
    backend = start(bundle)
    handle = backend.encode(image)
    first = backend.decode(handle, BOXES[:1], True)
    kept = [values.copy() for values in first]
    backend.decode(handle, BOXES[1:2], True)
    for values, copies in zip(first, kept, strict=True):
        np.testing.assert_array_equal(values, copies)


def test_more_embeddings_than_slots_add_memory_once(bundle, image):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    gpu.calls.clear()
    handles = [backend.encode(image) for _ in range(NUM_EMBEDDINGS + 1)]
    assert [call for call in gpu.calls if call[0] == "allocate"] == [("allocate", EMBEDDING_BYTES)]
    assert len({handle.block.address for handle in handles}) == NUM_EMBEDDINGS + 1
    del handles
    gc.collect()
    gpu.calls.clear()
    again = [backend.encode(image) for _ in range(NUM_EMBEDDINGS + 1)]
    assert len({handle.block.address for handle in again}) == NUM_EMBEDDINGS + 1
    assert gpu.counts()["allocate"] == 0


def test_another_thread_is_refused_before_it_reaches_the_gpu(bundle, image):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    errors = []

    def call():
        try:
            backend.encode(image)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "must be called from the thread that built it" in errors[0]
    assert gpu.threads == {threading.get_ident()}


def test_a_handle_dropped_in_another_thread_makes_no_gpu_call(bundle, image):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    box = [backend.encode(image)]
    gpu.calls.clear()
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    gc.collect()
    assert gpu.calls == []
    assert len(backend._free_slots) == NUM_EMBEDDINGS


@pytest.mark.parametrize("handle_first", [True, False])
def test_release_in_any_order_leaves_nothing(bundle, image, handle_first):
    gpu = RecordingGpu()
    backend = start(bundle, gpu)
    handle = backend.encode(image)
    if handle_first:
        del handle
    backend.close()  # the double asserts that nothing is left
    handle = None
    gc.collect()
    backend.close()
    assert gpu.num_closed == 1
    assert all(engine.is_closed for engine in gpu.engines)


def test_a_closed_backend_says_so(bundle, image):
    backend = start(bundle)
    backend.close()
    with pytest.raises(RuntimeError, match="is closed; load the predictor again"):
        backend.encode(image)


def test_a_handle_of_another_backend_is_refused(bundle, image):
    with pytest.raises(ValueError, match="embedding must come from this backend"):
        start(bundle).decode(start(bundle).encode(image), BOXES, False)


# Without the engines' scratch: image, embedding and 4 slots 94,208 bytes; per box 16 + 4 + two
# masks of 1,024 bytes, that is 2,068 bytes, and the double's scratch of 1,000 bytes.
FIXED_BYTES, BYTES_PER_BOX = IMAGE_BYTES + 5 * EMBEDDING_BYTES, 3068


@pytest.mark.parametrize(("fitting", "chunk"), [(64, 64), (63, 32), (17, 16), (1, 1)])
def test_a_full_gpu_is_answered_with_smaller_chunks(bundle, image, caplog, fitting, chunk):
    gpu = RecordingGpu(total_bytes=FIXED_BYTES + fitting * BYTES_PER_BOX)
    backend = start(bundle, gpu)
    assert backend.max_chunk == chunk
    assert ("boxes at once, not 64" in caplog.text) == (chunk < 64)
    boxes = np.repeat(BOXES[:1], 70, axis=0)
    output = backend.decode(backend.encode(image), boxes, True)
    np.testing.assert_array_equal(output.amodal_logits, np.repeat(output.amodal_logits[:1], 70, 0))
    backend.close()


def test_a_gpu_without_room_for_one_box_is_refused_and_left_clean(bundle):
    gpu = RecordingGpu(total_bytes=FIXED_BYTES + BYTES_PER_BOX - 1)
    with pytest.raises(BackendUnavailableError, match="too little memory even for one box"):
        start(bundle, gpu)
    assert gpu.memory == {}
    assert gpu.pinned == {}


@pytest.mark.parametrize("records", [True, False])
def test_the_encoder_runs_as_a_graph_where_it_can(bundle, image, caplog, records):
    gpu = RecordingGpu(records=records)
    with caplog.at_level(logging.INFO):
        backend = start(bundle, gpu)
    assert gpu.counts()["record"] == records
    assert ("without a CUDA graph" in caplog.text) != records
    assert backend.decode(backend.encode(image), BOXES, False).predicted_iou.min() > 0.4


def test_the_cuda_graph_can_be_left_out(bundle):
    gpu = RecordingGpu()
    start(bundle, gpu, cuda_graph=False)
    assert gpu.counts()["record"] == 0


@pytest.mark.parametrize(("wanted", "recorded"), [(None, 1), (True, 1), (False, 0)])
def test_the_cuda_graph_is_an_option_of_loading(monkeypatch, tmp_path, wanted, recorded):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    gpu = RecordingGpu()
    monkeypatch.setattr(tensorrt.cuda, "unavailable_reason", lambda: None)
    monkeypatch.setattr(tensorrt.cuda, "open_gpu", lambda _: gpu)
    monkeypatch.setattr(tensorrt, "check_against_reference", lambda *_: None)
    monkeypatch.setattr(engine_plan, "build_engine", lambda _, path, *__: str(path).encode())
    model = make_tiny_bundle(tmp_path / "tiny")
    load_predictor(model, "tensorrt", cache_dir=tmp_path / "cache", cuda_graph=wanted).close()
    assert gpu.counts()["record"] == recorded
    with pytest.raises(ValueError, match="backend onnxruntime has no CUDA graphs"):
        load_predictor(model, "onnxruntime", cuda_graph=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (BackendOptions(precision="f16"), "precision of backend tensorrt is that of the bundle"),
        (BackendOptions(threads=2), "runs on the GPU; leave the number of threads out"),
        (BackendOptions(pin_threads="on"), "runs on the GPU; leave pin_threads at auto"),
    ],
)
def test_options_that_it_cannot_honour_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        _check_options(options)
