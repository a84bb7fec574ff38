"""Real builds by TensorRT for RTX, which needs no GPU, of small graphs."""

import ast
import importlib.machinery
import logging
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from sameo_model.runtime.backends import cuda, engine_build
from sameo_model.runtime.backends.base import BackendUnavailableError, DecoderOutput
from sameo_model.runtime.backends.build_progress import BuildProgress
from sameo_model.runtime.backends.engine_build import (
    BuildSettings,
    build_engine,
    capability_text,
    target_of,
)
from sameo_model.runtime.backends.engine_check import (
    REFERENCE_FILE,
    check_against_reference,
    mask_ious,
    reference_scene,
    write_reference,
)
from sameo_model.runtime.backends.engine_plan import plan_engines, plan_engines_for_target
from sameo_model.runtime.backends.tensorrt_engine import TensorRtEngine
from sameo_model.runtime.backends.tensorrt_flavour import load_flavour, version_tuple
from sameo_model.runtime.bundle import load_bundle
from tests.bundles import make_tiny_bundle

pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
SIZE = 64
BACKENDS_FOLDER = Path(engine_build.__file__).parent


@pytest.fixture(scope="module")
def flavour():
    return load_flavour("tensorrt-rtx")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return load_bundle(make_tiny_bundle(tmp_path_factory.mktemp("bundle")))


@pytest.fixture(scope="module")
def engine(flavour, bundle):
    return build_engine(flavour, bundle.mask_decoder, SIZE, BuildSettings("SM86"))


def test_the_flavour_says_what_it_can_do(flavour):
    assert str(flavour).startswith("tensorrt-rtx 1.")
    assert flavour.can_target_other_gpus
    assert not flavour.has_timing_cache
    assert {"SM86", "SM120"} <= set(flavour.target_names)


def test_an_unknown_flavour_is_refused():
    with pytest.raises(ValueError, match="must be one of tensorrt, tensorrt-rtx; got 'trt'"):
        load_flavour("trt")


def fake_module(monkeypatch, name, **content):
    module = types.ModuleType(name)
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    vars(module).update(content)
    monkeypatch.setitem(sys.modules, name, module)


def test_type_stubs_are_not_taken_for_tensorrt(monkeypatch):
    fake_module(monkeypatch, "tensorrt")
    with pytest.raises(BackendUnavailableError, match="package tensorrt is missing; install"):
        load_flavour("tensorrt")
    assert load_flavour().name == "tensorrt-rtx"


def test_an_old_tensorrt_is_refused(monkeypatch):
    fake_module(monkeypatch, "tensorrt", Builder=object, __version__="10.2.0.19")
    with pytest.raises(BackendUnavailableError, match=r"10\.3 or later, is 10\.2\.0\.19"):
        load_flavour("tensorrt")


def test_tensorrt_proper_is_preferred_and_builds_for_its_own_gpu_alone(monkeypatch, bundle):
    fake_module(monkeypatch, "tensorrt", Builder=object, __version__="10.3.0")
    flavour = load_flavour()
    assert (flavour.name, flavour.has_timing_cache) == ("tensorrt", True)
    with pytest.raises(ValueError, match=r"10\.3\.0 builds engines only for this machine's GPU"):
        plan_engines_for_target(bundle, flavour, "SM86", None)
    plan = plan_engines(bundle, flavour, "Orin", (8, 7), Path("cache"))
    key = plan.keys["mask_decoder"]
    assert (key.gpu, key.compute_capability, plan.settings.target) == ("Orin", "8.7", None)
    assert plan.settings.timing_cache == Path("cache/timing-10.3.0.cache")


@pytest.mark.parametrize(
    ("version", "numbers"), [("10.3.0.post1", (10, 3, 0)), ("11", (11,)), ("x", ())]
)
def test_versions_are_compared_as_numbers(version, numbers):
    assert version_tuple(version) == numbers


@pytest.mark.parametrize("target", ["SM86", "SM120"])
def test_all_graphs_are_built_cached_and_found_again(flavour, bundle, tmp_path, target):
    plan = plan_engines_for_target(bundle, flavour, target, tmp_path)
    engines, new = plan.load_or_build()
    assert new == {"image_encoder", "mask_decoder", "visible_decoder"}
    assert all(len(data) > 1000 for data in engines.values())
    again, new = plan_engines_for_target(bundle, flavour, target, tmp_path).load_or_build()
    assert (again, new) == (engines, set())
    assert plan.status("mask_decoder").startswith("ready")
    plan.forget(["mask_decoder"])
    assert plan.status("mask_decoder") == "not built yet"


def test_an_engine_serves_every_gpu_of_its_compute_capability(flavour, bundle):
    on_robot = plan_engines(bundle, flavour, "NVIDIA GeForce RTX 3060", (8, 6), None)
    elsewhere = plan_engines_for_target(bundle, flavour, "SM86", None)
    assert on_robot.keys == elsewhere.keys
    assert on_robot.keys != plan_engines_for_target(bundle, flavour, "SM120", None).keys


def test_a_gpu_that_rtx_does_not_support_is_named(flavour, bundle):
    with pytest.raises(BackendUnavailableError, match=r"does not support GPU NVIDIA H100 \(SM90"):
        plan_engines(bundle, flavour, "NVIDIA H100", (9, 0), None)


def test_progress_rises_and_names_the_phase(flavour, bundle, monkeypatch):
    reports = []
    settings = BuildSettings("SM86")
    monkeypatch.setattr(BuildProgress.__init__, "__defaults__", (0.0,))
    build_engine(flavour, bundle.image_encoder, SIZE, settings, lambda *r: reports.append(r))
    fractions = [fraction for fraction, _, _ in reports]
    assert fractions == sorted(fractions)
    assert fractions[0] < 0.2
    assert fractions[-1] == pytest.approx(1.0)
    assert {phase for _, phase, _ in reports} > {"Building engine"}


def test_nested_phases_make_one_number():
    reports = []
    progress = BuildProgress("x", lambda *report: reports.append(report[0]), period_s=0.0)
    progress.start("all", None, 2)
    progress.start("part", "all", 4)
    progress.step("part", 0)  # 1 of 4 of the first half
    progress.step("part", 1)
    progress.finish("part")
    progress.step("all", 0)
    progress.finish("all")
    assert reports == pytest.approx([0, 0, 0.125, 0.25, 0.5, 0.5, 1])


def test_progress_is_logged_when_nobody_asks(flavour, bundle, caplog):
    with caplog.at_level(logging.INFO):
        build_engine(flavour, bundle.image_encoder, SIZE, BuildSettings("SM86"))
    assert "building image_encoder: 0 % after 0 s" in caplog.text


def test_ctrl_c_stops_a_build(flavour, bundle):
    def interrupt(fraction, phase, elapsed_s):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="build of mask_decoder was interrupted"):
        build_engine(flavour, bundle.mask_decoder, SIZE, BuildSettings("SM86"), interrupt)


def test_an_unknown_target_is_refused_with_the_known_ones(flavour, bundle):
    with pytest.raises(ValueError, match=r"must be one of SM75, .*; got 'SM90'"):
        build_engine(flavour, bundle.mask_decoder, SIZE, BuildSettings("SM90"))


def test_a_graph_of_another_model_is_refused(flavour, bundle):
    with pytest.raises(
        ValueError, match=r"must have .*\[1, 256, 8, 8\].*but has .*\[1, 256, 4, 4\]"
    ):
        build_engine(flavour, bundle.mask_decoder, 128, BuildSettings("SM86"))


@pytest.mark.parametrize("opset", [16, 21])
def test_a_bundle_of_another_opset_is_refused(flavour, bundle, opset):
    other = replace(bundle, info=replace(bundle.info, opset=opset))
    with pytest.raises(ValueError, match=f"opset from 17 to 20 for TensorRT, but has {opset}"):
        plan_engines_for_target(other, flavour, "SM86", None)


def test_a_missing_graph_is_named(flavour, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mask_decoder\.onnx does not exist; export"):
        build_engine(flavour, tmp_path / "mask_decoder.onnx", SIZE, BuildSettings("SM86"))


@pytest.mark.parametrize("fault", ["operator", "truncated"])
def test_a_graph_that_tensorrt_cannot_read_is_refused_in_its_words(
    flavour, bundle, tmp_path, fault
):
    path = tmp_path / "mask_decoder.onnx"
    model = onnx.load(bundle.mask_decoder)
    if fault == "operator":
        model.graph.node[0].op_type = "NoSuchOperator"
    data = model.SerializeToString()
    path.write_bytes(data[: len(data) // 2] if fault == "truncated" else data)
    with pytest.raises(ValueError, match=r"cannot be read by TensorRT \(.+\); export the bundle"):
        build_engine(flavour, path, SIZE, BuildSettings("SM86"))


def test_a_build_that_lacks_memory_says_what_helps(flavour):
    bundle = load_bundle("sameo_lite")
    settings = BuildSettings("SM86", workspace_mb=64)  # 64 windows need more
    with pytest.raises(RuntimeError, match=r"OutOfMemory .*; it may use 64 MiB: export the bundle"):
        build_engine(flavour, bundle.window_segmenter, bundle.info.image_size, settings)


@pytest.mark.parametrize("data", [b"", b"not an engine" * 100], ids=["empty", "rubbish"])
def test_what_is_no_engine_is_refused_with_a_sentence(flavour, data):
    with pytest.raises((BackendUnavailableError, MemoryError), match="did not take an engine"):
        TensorRtEngine(flavour, data, 0)


def test_without_a_driver_an_engine_is_refused_with_the_remedy(flavour, engine):
    if cuda.unavailable_reason() is None:
        pytest.skip("there is a GPU on this machine")
    with pytest.raises(BackendUnavailableError, match="driver is missing, or too old"):
        TensorRtEngine(flavour, engine, 0)


@pytest.mark.parametrize(("number", "name"), [((8, 6), "SM86"), ((12, 0), "SM120")])
def test_compute_capabilities_have_two_spellings(number, name):
    assert target_of(number) == name
    assert capability_text(name) == f"{number[0]}.{number[1]}"


class FixedBackend:
    """Answers with given logits."""

    has_visible_decoder = False
    encodes_images = True

    def __init__(self, logits):
        self.logits = logits

    def encode(self, image):
        return None

    def decode(self, handle, boxes, visible):
        return DecoderOutput(self.logits, np.ones(len(boxes), np.float32), None)


def test_a_new_engine_is_checked_against_the_networks_masks(tmp_path, caplog):
    folder = make_tiny_bundle(tmp_path / "bundle", visible=False)
    logits = np.random.default_rng(0).normal(size=(6, 16, 16)).astype(np.float32)
    check_against_reference(FixedBackend(logits), load_bundle(folder))
    assert "holds no reference masks" in caplog.text
    write_reference(folder, DecoderOutput(logits, np.ones(6, np.float32), None))
    assert (folder / REFERENCE_FILE).stat().st_size < 2000
    bundle = load_bundle(folder)
    check_against_reference(FixedBackend(logits * 3), bundle)
    with pytest.raises(RuntimeError, match=r"amodal masks have a mean IoU of 0\.0"):
        check_against_reference(FixedBackend(-logits), bundle)
    logits[2, 3, 4] = np.nan
    with pytest.raises(RuntimeError, match="amodal output holds NaN or infinity"):
        check_against_reference(FixedBackend(logits), bundle)


def test_the_reference_scene_shows_what_its_boxes_say():
    image, boxes = reference_scene(64)
    assert image.shape == (64, 64, 3)
    assert boxes[0].tolist() == [4, 4, 28, 24]
    # The second shape, a rectangle, covers the first at (22, 14); the first, an ellipse, does
    # not fill the corner of its box.
    assert image[14, 22].tolist() == [40, 160, 70]
    assert image[14, 12].tolist() == [200, 60, 40]
    assert image[4, 4].tolist() == [93, 93, 93]  # 90 + 60 * 8 // 128


def test_mask_iou_counts_pixels():
    first, second = np.zeros((2, 2, 4, 4), bool)
    first[0, :2], second[0, 1:3] = True, True  # 4 of 12 pixels are common
    np.testing.assert_allclose(mask_ious(first, second), [1 / 3, 1])


# How variables of TensorRT's classes are called in our code.
CLASSES = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "parser": "OnnxParser",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "_context": "IExecutionContext",
}
OUR_FILES = ("build_progress.py", "engine_build.py", "tensorrt_engine.py", "tensorrt_flavour.py")
NOT_IN_RTX = {("PreviewFeature", "RUNTIME_ACTIVATION_RESIZE_10_10")}


def used_names() -> set[tuple[str, str]]:
    """All (class, attribute) of TensorRT that our files use."""
    used = set()
    for name in OUR_FILES:
        for node in ast.walk(ast.parse((BACKENDS_FOLDER / name).read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            owner = node.value
            last = getattr(owner, "attr", getattr(owner, "id", None))
            if last in CLASSES:
                used.add((CLASSES[last], node.attr))
            elif isinstance(owner, ast.Attribute) and getattr(owner.value, "id", "") == "api":
                used.add((owner.attr, node.attr))
    return used


def test_every_name_that_we_use_exists_in_the_real_module(flavour):
    used = used_names()
    assert {("IExecutionContext", "execute_async_v3"), ("Builder", "create_network")} <= used
    assert len(used) > 20
    missing = {
        (owner, name) for owner, name in used if not hasattr(getattr(flavour.api, owner), name)
    }
    assert missing - NOT_IN_RTX == set()
