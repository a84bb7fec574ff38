"""The command line answers bad requests with one sentence and exit status 2."""

import pytest

from sameo_model.export import __main__ as command
from sameo_model.export import bundle as export
from sameo_model.export import tensorrt
from sameo_model.modeling import save_checkpoint
from sameo_model.runtime.bundle import load_bundle
from tests.sameo_model.export.test_bundle import copy_graphs


def test_a_checkpoint_becomes_a_verified_bundle(
    small_lite, small_bundle, tmp_path, monkeypatch, capsys
):
    save_checkpoint(small_lite, tmp_path / "model.safetensors")
    (tmp_path / "scores.json").write_text('{"miou_full": 0.9}')
    monkeypatch.setattr(
        export, "_write_graphs", lambda model, draft: copy_graphs(small_bundle, draft)
    )
    arguments = ["--model", str(tmp_path / "model.safetensors"), "--format", "onnx"]
    arguments += ["--output", str(tmp_path / "out"), "--scores", str(tmp_path / "scores.json")]
    assert command.main([*arguments, "--name", "mine", "--licence", "MIT"]) == 0
    info = load_bundle(tmp_path / "out").info
    assert (info.name, info.licence, info.scores) == ("mine", "MIT", {"miou_full": 0.9})
    printed = capsys.readouterr().out
    assert "onnxruntime  f32   mean mask IoU 1.00000" in printed
    assert "out (" in printed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--model": "nowhere.safetensors"}, "checkpoint nowhere.safetensors does not exist"),
        ({"--model": "nothing"}, "'nothing' is neither a bundled model"),
        ({"--precision": "fp8"}, "precision must be one of fp32, fp16, bf16, mixed; got 'fp8'"),
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
