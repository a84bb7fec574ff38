import hashlib
import importlib.util
import json
import logging
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from sameo_model.runtime.backends import base
from sameo_model.runtime.backends.base import BackendOptions, BackendUnavailableError, build_backend
from sameo_model.runtime.bundle import IMAGE_ENCODER, MODEL_JSON, load_bundle
from tests.bundles import make_tiny_bundle

CPU_BACKENDS = ("openvino", "onnxruntime")
ROOT = Path(__file__).parents[3]
CORES = sorted(os.sched_getaffinity(0))
needs_two_cores = pytest.mark.skipif(len(CORES) < 2, reason="there is only one core")
BOXES = np.array([[8, 8, 40, 56], [0, 0, 64, 64], [3.5, 7.25, 9, 60]], np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_outputs_have_the_contract_shapes_and_hand_derived_values(name, bundle, image):
    backend = build_backend(name, bundle)
    output = backend.decode(backend.encode(image), BOXES, True)
    assert output.amodal_logits.shape == (3, 16, 16)
    assert output.amodal_logits.dtype == np.float32
    assert output.visible_logits.shape == (3, 16, 16)
    # Logit pixel (8, 4) of box 0 has its centre at x = 18, y = 34: 10 pixels from the nearest
    # edge (left), that is 2.5 logit pixels; its upper half ends at y = 32, 2 pixels above.
    assert output.amodal_logits[0, 8, 4] == pytest.approx(2.5)
    assert output.visible_logits[0, 8, 4] == pytest.approx(-0.5)
    np.testing.assert_allclose(output.predicted_iou, image[..., 0].mean() / 255, atol=1e-5)


def test_backends_agree(bundle, image):
    outputs = []
    for name in CPU_BACKENDS:
        backend = build_backend(name, bundle)
        outputs.append(backend.decode(backend.encode(image), BOXES, True))
    for one, other in zip(*outputs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_a_handle_outlives_the_next_encode(name, bundle):
    backend = build_backend(name, bundle)
    dark = backend.encode(np.zeros((64, 64, 3), np.uint8))
    backend.encode(np.full((64, 64, 3), 255, np.uint8))
    assert backend.decode(dark, BOXES, False).predicted_iou.max() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_outputs_outlive_the_next_decode(name, bundle, image):
    backend = build_backend(name, bundle)
    handle = backend.encode(image)
    first = backend.decode(handle, BOXES[:1], True)
    kept = [np.array(values) for values in first]
    backend.decode(handle, BOXES[1:2], True)
    for values, copies in zip(first, kept, strict=True):
        np.testing.assert_array_equal(values, copies)


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_visible_logits_come_only_when_asked_for(name, bundle, image):
    backend = build_backend(name, bundle)
    assert backend.decode(backend.encode(image), BOXES, False).visible_logits is None


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_a_model_without_visible_decoder_says_so(name, tmp_path):
    bundle = load_bundle(make_tiny_bundle(tmp_path, visible=False))
    assert not build_backend(name, bundle).has_visible_decoder


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_threads_can_be_limited(name, bundle, image):
    backend = build_backend(name, bundle, BackendOptions(threads=1))
    assert backend.decode(backend.encode(image), BOXES, False).predicted_iou.shape == (3,)


@pytest.mark.parametrize("threads", [0, -3])
def test_numbers_of_threads_that_mean_nothing_are_refused(threads):
    with pytest.raises(ValueError, match=f"threads must be at least 1, got {threads}; leave it"):
        BackendOptions(threads=threads)


def test_no_more_threads_are_taken_than_there_are_cores():
    assert BackendOptions(threads=100_000).count_threads() == len(CORES)
    assert BackendOptions().count_threads() == len(CORES)
    assert BackendOptions(threads=1).count_threads() == 1


def ask(request, name):
    return request.get_compiled_model().get_property(name)


@needs_two_cores
@pytest.mark.parametrize(
    ("options", "streams", "is_pinned"),
    [
        (BackendOptions(), min(len(CORES), 4), True),
        (BackendOptions(threads=1), 1, False),
        (BackendOptions(threads=2), 2, len(CORES) == 2),
        (BackendOptions(decoder_streams=1, pin_threads="on"), 1, True),
        (BackendOptions(decoder_streams=2, pin_threads="off"), 2, False),
        (BackendOptions(threads=1, pin_threads="on"), 1, True),
        # More threads than cores are as many as there are cores.
        (BackendOptions(threads=1000), min(len(CORES), 4), True),
    ],
)
def test_openvino_has_the_streams_and_pinning_that_it_is_told(
    bundle, image, tmp_path, options, streams, is_pinned
):
    # Twice: the second takes its graphs from the cache, where other settings left them.
    for settings in (BackendOptions(threads=2, pin_threads="on"), options):
        settings = replace(settings, precision="f32", cache_dir=tmp_path)
        backend = build_backend("openvino", bundle, settings)
    decoders = [*backend._mask_decoders, *backend._visible_decoders]
    assert len(decoders) == 2 * streams
    assert {ask(one, "NUM_STREAMS") for one in decoders} == {streams}
    assert ask(backend._encoder, "NUM_STREAMS") == 1
    every = [backend._encoder, *decoders]
    assert {ask(one, "ENABLE_CPU_PINNING") for one in every} == {is_pinned}
    assert backend.decode(backend.encode(image), BOXES, True).predicted_iou.shape == (3,)


def cores_of_threads(threads):
    """Which cores each thread may use, in ascending order."""
    return sorted(sorted(os.sched_getaffinity(int(thread))) for thread in threads)


@needs_two_cores
@pytest.mark.parametrize(
    ("options", "cores"),
    [
        # The caller is the first of the threads of each of the three graphs.
        (BackendOptions(threads=2, pin_threads="on"), [CORES[1:2]] * 3),
        (BackendOptions(threads=2, pin_threads="off"), [CORES] * 3),
        (BackendOptions(threads=2), [CORES] * 3),
        (BackendOptions(pin_threads="off"), [CORES] * 3 * (len(CORES) - 1)),
        (BackendOptions(threads=1, pin_threads="on"), []),
    ],
)
def test_onnxruntime_pins_its_threads_as_it_is_told(bundle, options, cores):
    build_backend("onnxruntime", bundle)  # the first one starts a thread of the library's own, too
    before = set(os.listdir("/proc/self/task"))
    backend = build_backend("onnxruntime", bundle, options)
    started = set(os.listdir("/proc/self/task")) - before
    deadline_s = time.monotonic() + 30
    # A thread binds itself, some time after it was started.
    while cores_of_threads(started) != cores and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert cores_of_threads(started) == cores
    del backend


def test_threads_of_onnxruntime_do_not_spin(bundle):
    backend = build_backend("onnxruntime", bundle)
    for session in (backend._encoder, backend._mask_decoder, backend._visible_decoder):
        settings = session.get_session_options()
        assert settings.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_openvino_states_the_precision_that_it_runs_in(bundle):
    options = BackendOptions(precision="f32")
    assert build_backend("openvino", bundle, options).device == "CPU, f32"
    options = BackendOptions(precision="bf16")
    assert build_backend("openvino", bundle, options).device == "CPU, bf16"


SIGNAL_AFTER_THE_END = """
import faulthandler, os, pathlib, signal, sys
from sameo_model.runtime.backends.base import build_backend
from sameo_model.runtime.bundle import IMAGE_ENCODER, MODEL_JSON, load_bundle
faulthandler.enable()
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
bundle = load_bundle(pathlib.Path(sys.argv[1]))
backends = [build_backend(sys.argv[2], bundle) for _ in range(2)]
while backends:
    backends.pop(0).close()
    os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_signals_are_handled_after_the_end_of_backends(name, bundle):
    # A process of its own: with one `openvino.Core` for each graph it died without a message.
    command = [sys.executable, "-c", SIGNAL_AFTER_THE_END, str(bundle.folder), name]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout) == (0, "handled\nhandled\n"), ran.stderr


def test_openvino_keeps_compiled_models_where_it_is_told(bundle, tmp_path):
    build_backend("openvino", bundle, BackendOptions(cache_dir=tmp_path / "cache"))
    assert list((tmp_path / "cache").iterdir())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("openvino", BackendOptions(precision="int3"), "must be one of f32, bf16, f16; got 'int3'"),
        ("onnxruntime", BackendOptions(precision="bf16"), "runs in precision f32, not 'bf16'"),
        ("onnxruntime", BackendOptions(cache_dir="x"), "keeps no compiled models"),
        (
            "openvino",
            BackendOptions(threads=1, decoder_streams=2),
            "decoder_streams must be from 0 to 1, the number of threads; got 2",
        ),
        ("openvino", BackendOptions(decoder_streams=-1), "decoder_streams must be from 0 to .*-1"),
        (
            "onnxruntime",
            BackendOptions(decoder_streams=1),
            "backend onnxruntime has no decoder streams; leave decoder_streams at 0",
        ),
        (
            "openvino",
            BackendOptions(pin_threads="yes"),
            "pin_threads must be one of auto, on, off; got 'yes'",
        ),
        ("cuda", None, "backend must be one of auto, tensorrt, openvino, onnxruntime; got 'cuda'"),
    ],
)
def test_what_a_backend_cannot_do_is_refused(bundle, name, options, message):
    with pytest.raises(ValueError, match=message):
        build_backend(name, bundle, options)


def hide(monkeypatch, *packages):
    find = importlib.util.find_spec

    def find_spec(name, package=None):
        return None if name in packages else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)


@pytest.mark.parametrize("name", CPU_BACKENDS)
def test_a_backend_without_its_package_says_how_to_get_it(name, bundle, monkeypatch):
    hide(monkeypatch, name)
    with pytest.raises(BackendUnavailableError, match=f"run 'pip install {name}'"):
        build_backend(name, bundle)


def test_auto_says_what_it_took_and_why(bundle, monkeypatch, caplog):
    monkeypatch.setattr(base, "BACKENDS", CPU_BACKENDS)
    hide(monkeypatch, "openvino")
    with caplog.at_level(logging.INFO):
        backend = build_backend("auto", bundle)
    assert backend.name == "onnxruntime"
    assert "took onnxruntime; passed over openvino (the Python package openvino" in caplog.text


def replace_encoder(folder: Path, content: bytes) -> None:
    """Write another encoder graph into a bundle, with its check sum."""
    (folder / IMAGE_ENCODER).write_bytes(content)
    info = json.loads((folder / MODEL_JSON).read_text())
    info["files"][IMAGE_ENCODER] = hashlib.sha256(content).hexdigest()
    (folder / MODEL_JSON).write_text(json.dumps(info))


@pytest.mark.skipif(
    tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 20),
    reason="ONNX Runtime 1.17 crashes on the operator that OpenVINO does not know",
)
def test_auto_goes_on_where_an_engine_cannot_load_the_model(tmp_path, monkeypatch, caplog, image):
    folder = make_tiny_bundle(tmp_path / "bundle")
    expected = build_backend("onnxruntime", load_bundle(folder)).encode(image)
    # An operator of ONNX Runtime's own that OpenVINO does not know; squeezing undoes it.
    model = onnx.load(folder / IMAGE_ENCODER)
    model.graph.node[-1].output[0] = "plain"
    model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int32), "axis"))
    model.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "axes"))
    expand = onnx.helper.make_node(
        "ExpandDims", ["plain", "axis"], ["wider"], domain="com.microsoft"
    )
    squeeze = onnx.helper.make_node("Squeeze", ["wider", "axes"], ["embedding"])
    model.graph.node.extend([expand, squeeze])
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    replace_encoder(folder, model.SerializeToString())
    monkeypatch.setattr(base, "BACKENDS", CPU_BACKENDS)
    with caplog.at_level(logging.WARNING):
        backend = build_backend("auto", load_bundle(folder))
    assert backend.name == "onnxruntime"
    np.testing.assert_array_equal(backend.encode(image), expected)
    (line,) = caplog.messages
    assert "backend auto: took onnxruntime; passed over openvino (openvino 20" in line
    assert "cannot load the model tiny" in line
    assert "\n" not in line


@pytest.mark.parametrize("name", ["auto", *CPU_BACKENDS])
def test_a_graph_that_no_engine_can_load_is_told_in_one_line(tmp_path, monkeypatch, name):
    folder = make_tiny_bundle(tmp_path / "bundle")
    replace_encoder(folder, b"no graph")
    monkeypatch.setattr(base, "BACKENDS", CPU_BACKENDS)
    package = "openvino" if name == "auto" else name
    with pytest.raises(BackendUnavailableError, match=f"{package} .* cannot load .* tiny") as info:
        build_backend(name, load_bundle(folder))
    assert "\n" not in str(info.value)


def test_auto_without_any_backend_lists_the_reasons(bundle, monkeypatch):
    monkeypatch.setattr(base, "BACKENDS", CPU_BACKENDS)
    hide(monkeypatch, *CPU_BACKENDS)
    with pytest.raises(BackendUnavailableError, match=r"no backend can run here: openvino.*onnx"):
        build_backend("auto", bundle)


def test_tensorrt_is_unavailable_without_a_gpu(bundle):
    reason = base.unavailable_reason("tensorrt")
    if reason is None:
        pytest.skip("TensorRT runs on this machine")
    with pytest.raises(BackendUnavailableError, match="backend tensorrt cannot run here"):
        build_backend("tensorrt", bundle)
