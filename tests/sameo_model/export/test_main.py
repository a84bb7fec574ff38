"""The command line answers bad requests with one sentence and exit status 2."""

import pytest

from sameo_model.export import __main__ as command
from sameo_model.export import tensorrt, verify
from sameo_model.export.parity import PrecisionParity
from sameo_model.export.records import record_of
from sameo_model.export.verify import Parity
from sameo_model.modeling import save_checkpoint
from sameo_model.runtime.backends.openvino import has_bf16
from sameo_model.runtime.bundle import load_bundle, write_bundle_info
from tests.sameo_model.export.test_bundle import copy_bundle


def test_a_checkpoint_becomes_a_verified_bundle(small_network, no_tracing, tmp_path, capsys):
    save_checkpoint(small_network, tmp_path / "model.safetensors")
    (tmp_path / "scores.json").write_text('{"miou_full": 0.9}')
    arguments = ["--model", str(tmp_path / "model.safetensors"), "--format", "onnx"]
    arguments += ["--output", str(tmp_path / "out"), "--scores", str(tmp_path / "scores.json")]
    assert command.main([*arguments, "--name", "mine", "--licence", "MIT"]) == 0
    info = load_bundle(tmp_path / "out").info
    verified = info.scores.pop("verified")
    assert (info.name, info.licence, info.scores) == ("mine", "MIT", {"miou_full": 0.9})
    assert verified["onnxruntime"]["f32"]["holds"] is True
    assert verified["openvino"]["f32"]["mean_mask_iou"] > 0.999
    printed = capsys.readouterr().out
    assert "onnxruntime  f32   mean mask IoU 1.00000" in printed
    assert "out (" in printed


def write_labelled_bundle(small_bundle, folder, **scores):
    """Copy the bundle with a licence, a training record and scores of its own."""
    copy_bundle(small_bundle, folder)
    info = {key: value for key, value in vars(load_bundle(folder).info).items() if key != "files"}
    own = {"licence": "CC-BY-4.0", "training": {"steps": 7}, "scores": {"miou_full": 0.5, **scores}}
    write_bundle_info(folder, **{**info, **own})
    return load_bundle(folder)


def export(source, output, *options, form="onnx"):
    arguments = ["--model", str(source), "--format", form, "--output", str(output), *options]
    return command.main(arguments)


@pytest.fixture
def no_measuring(monkeypatch):
    """What other tests measure is taken as measured."""
    good = Parity("openvino", "f32", 0.0, 0.0, mean_mask_iou=1.0, min_mask_iou=0.999)
    monkeypatch.setattr(verify, "verify_bundle", lambda draft, min_bf16_mask_iou: [good])
    close = PrecisionParity("mixed", 12, 0.99, 0.98, "mask 3", 0.01, 250.0, "pixels")
    monkeypatch.setattr(tensorrt, "measure_precision", lambda old, new, precision, images: close)


def test_a_bundle_that_is_exported_again_keeps_its_record(
    small_bundle, tmp_path, no_tracing, no_measuring
):
    old = write_labelled_bundle(small_bundle, tmp_path / "old", verified={"openvino": {}})
    assert export(old.folder, tmp_path / "new") == 0
    info = load_bundle(tmp_path / "new").info
    assert (info.licence, info.training) == ("CC-BY-4.0", {"steps": 7})
    assert info.scores["miou_full"] == 0.5
    assert info.scores["verified"]["openvino"]["f32"]["holds"] is True  # measured anew


def test_options_replace_the_record_of_a_bundle(small_bundle, tmp_path, no_tracing, no_measuring):
    old = write_labelled_bundle(small_bundle, tmp_path / "old")
    (tmp_path / "scores.json").write_text('{"miou_full": 0.9}')
    options = ["--licence", "MIT", "--scores", str(tmp_path / "scores.json")]
    assert export(old.folder, tmp_path / "new", *options) == 0
    info = load_bundle(tmp_path / "new").info
    assert (info.licence, info.training) == ("MIT", {"steps": 7})
    assert info.scores["miou_full"] == 0.9


def test_the_record_is_kept_and_replaced_in_another_precision_too(
    small_bundle, tmp_path, no_measuring
):
    old = write_labelled_bundle(small_bundle, tmp_path / "old")
    options = ["--precision", "mixed", "--licence", "MIT", "--name", "half"]
    assert export(old.folder, tmp_path / "typed", *options) == 0
    info = load_bundle(tmp_path / "typed").info
    assert (info.name, info.licence, info.training) == ("half", "MIT", {"steps": 7})
    assert (info.scores["miou_full"], info.scores["precision"]) == (0.5, "mixed")
    # Once more as it is: nothing is measured again, so the limit meets what was measured before.
    measured = info.scores["precision_parity_emulated"]["mean_mask_iou"]
    assert measured == 0.99
    assert export(tmp_path / "typed", tmp_path / "again", "--min-mask-iou", "0.5") == 0
    again = load_bundle(tmp_path / "again").info
    assert again.scores["precision_parity_emulated"]["mean_mask_iou"] == measured
    write_labelled_bundle(
        tmp_path / "typed",
        tmp_path / "worse",
        precision="mixed",
        precision_parity_emulated={"mean_mask_iou": 0.9},
    )
    assert export(tmp_path / "worse", tmp_path / "refused") == 2
    assert not (tmp_path / "refused").exists()


def test_a_typed_bundle_is_exported_in_the_precision_that_is_asked_for(
    small_bundle, tmp_path, no_tracing, no_measuring
):
    assert export(small_bundle, tmp_path / "mixed", "--precision", "mixed") == 0
    assert export(tmp_path / "mixed", tmp_path / "f16", "--precision", "f16") == 0
    assert load_bundle(tmp_path / "f16").info.scores["precision"] == "f16"
    assert export(tmp_path / "mixed", tmp_path / "f32", "--precision", "f32") == 0
    assert "precision" not in load_bundle(tmp_path / "f32").info.scores


def test_scores_of_another_input_size_are_not_those_of_the_new_one(small_bundle, tmp_path):
    old = write_labelled_bundle(small_bundle, tmp_path / "old", precision="mixed")
    assert record_of(old, 64).scores == {"miou_full": 0.5}
    assert record_of(old, 96).scores == {"at_64": {"miou_full": 0.5}}
    assert record_of(old, 96).licence == "CC-BY-4.0"


def test_the_limit_of_masks_decides_whether_bf16_holds(small_bundle, tmp_path, no_tracing, capsys):
    if not has_bf16():
        pytest.skip("this processor has no bf16")
    assert export(small_bundle, tmp_path / "out", "--min-mask-iou", "1") == 0
    found = load_bundle(tmp_path / "out").info.scores["verified"]["openvino"]["bf16"]
    assert found["min_mask_iou"] == 1
    assert found["holds"] is (found["mean_mask_iou"] == 1)
    assert ("bf16 does not hold" in capsys.readouterr().out) is not found["holds"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--min-mask-iou": "1.2"}, "--min-mask-iou must lie from 0 to 1, got 1.2"),
        (
            {"--parity-images": ".", "--parity-boxes": "b", "--precision": "f32"},
            "--parity-images measure a precision other than f32",
        ),
        ({"--model": "nowhere.safetensors"}, "checkpoint nowhere.safetensors does not exist"),
        ({"--model": "nothing"}, "'nothing' is neither a bundled model"),
        ({"--precision": "fp8"}, "precision must be one of f32, f16, bf16, mixed; got 'fp8'"),
        ({"--compute-capability": "SM86"}, "belong to the formats of TensorRT"),
        ({"--parity-images": "."}, "--parity-images and --parity-boxes go together"),
        ({"--scores": "nowhere.json"}, "nowhere.json"),
        ({"--scores": "broken.json"}, "broken.json is not JSON"),
        ({"--training": "list.json"}, "list.json must hold a JSON object, got list"),
    ],
)
def test_bad_requests_are_answered_with_one_sentence(
    changes, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    options = {"--model": "x", "--format": "onnx", "--output": "out", **changes}
    status = command.main([word for pair in options.items() for word in pair])
    error = capsys.readouterr().err
    assert status == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_gpu_that_cannot_be_built_for_is_refused_before_the_minutes_of_emulation(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    monkeypatch.setattr(tensorrt, "write_precision", None)  # a call of it would be a TypeError
    options = ["--model", "sameo_lite", "--format", "tensorrt-rtx", "--output", str(tmp_path / "x")]
    assert command.main([*options, "--compute-capability", "SM1"]) == 2
    assert "must be one of SM75, " in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_help_teaches_with_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    printed = capsys.readouterr().out
    assert "examples:" in printed
    assert "python -m sameo_model.export --model efficient_sam_vitt" in printed
    assert "window_segmenter.onnx (sameo_lite)" in printed
