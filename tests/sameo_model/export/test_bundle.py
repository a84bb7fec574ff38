"""An exported bundle is complete, small, and replaces an old one whole or not at all."""

import json
from pathlib import Path

import onnx
import pytest
import torch

from sameo_model.export import bundle as export
from sameo_model.modeling import load_checkpoint
from sameo_model.runtime.bundle import load_bundle


def test_model_json_says_what_the_bundle_is(small_bundle):
    info = load_bundle(small_bundle).info
    assert (info.name, info.preset, info.image_size) == ("small_vit", "shallow_vit", 64)
    # ImageNet's mean and deviation times 255.
    assert info.normalisation["mean"] == pytest.approx([123.675, 116.28, 103.53])
    assert info.normalisation["std"] == pytest.approx([58.395, 57.12, 57.375])
    assert (info.opset, info.mask_selection, info.has_visible_decoder) == (18, "min_loss", True)
    assert (info.training, info.scores) == ({"steps": 0}, {"miou_full": 0.5})
    assert sorted(info.files) == [
        "image_encoder.onnx",
        "mask_decoder.onnx",
        "reference_masks.npz",
        "visible_decoder.onnx",
        "weights.safetensors",
    ]


def test_graphs_have_the_inputs_and_outputs_of_the_design(small_bundle):
    def signature(name: str) -> dict[str, list]:
        graph = onnx.load(small_bundle / name, load_external_data=False).graph
        return {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*graph.input, *graph.output)
        }

    embedding, boxes = [1, 256, 4, 4], ["N", 4]
    assert signature("image_encoder.onnx") == {"image": [1, 64, 64, 3], "embedding": embedding}
    assert signature("mask_decoder.onnx") == {
        "embedding": embedding,
        "boxes": boxes,
        "amodal_logits": ["N", 16, 16],
        "predicted_iou": ["N"],
    }
    assert signature("visible_decoder.onnx") == {
        "embedding": embedding,
        "boxes": boxes,
        "visible_logits": ["N", 16, 16],
    }


def test_weights_are_stored_once_and_in_half_precision(small_network, small_bundle):
    num_parameters = sum(value.numel() for value in small_network.parameters())
    size = sum(path.stat().st_size for path in small_bundle.iterdir())
    # Two bytes a parameter, and a few percent for names, norms in float32 and the graphs.
    assert size < 2.1 * num_parameters
    graphs = [path.stat().st_size for path in small_bundle.glob("*.onnx")]
    assert len(graphs) == 3
    assert max(graphs) < 200_000


def test_graphs_pass_the_checker_and_hold_no_trace_of_the_exporting_machine(small_bundle):
    for path in small_bundle.glob("*.onnx"):
        onnx.checker.check_model(path, full_check=True)
        content = path.read_bytes()
        for word in (str(Path.home()), str(Path(export.__file__).parents[2]), "site-packages"):
            assert word.encode() not in content


def test_the_bundle_loads_as_the_network_that_it_was_made_from(small_network, small_bundle):
    loaded = load_checkpoint(small_bundle)
    assert loaded.has_visible_decoder
    for name, value in small_network.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=2**-11, atol=1e-7)


def test_a_corrupted_bundle_is_not_loaded(small_bundle, tmp_path):
    copy = copy_bundle(small_bundle, tmp_path / "copy")
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(weights)
    with pytest.raises(ValueError, match=r"weights.safetensors is corrupted"):
        load_checkpoint(copy)


def test_a_failed_check_leaves_the_old_bundle_and_nothing_else(
    small_network, small_bundle, tmp_path, no_tracing
):
    folder = copy_bundle(small_bundle, tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def refuse(draft: Path) -> None:
        assert load_bundle(draft).info.name == "bundle"
        raise RuntimeError("not good enough")

    with pytest.raises(RuntimeError, match="not good enough"):
        export.export_bundle(small_network, folder, check=refuse)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_old_bundle_is_replaced(small_network, small_bundle, tmp_path, no_tracing):
    folder = copy_bundle(small_bundle, tmp_path / "bundle")
    (folder / "left_over.onnx").write_bytes(b"old")
    export.export_bundle(small_network, folder, name="newer")
    assert load_bundle(folder).info.name == "newer"
    assert not (folder / "left_over.onnx").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_the_old_bundle_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.json").write_text("old")
    rename = Path.rename

    def fail_for_the_draft(path, target):
        if path.name == "new":
            raise OSError("disk full")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_draft)
    with pytest.raises(OSError, match="disk full"), export.replacing(folder) as draft:
        (draft / "model.json").write_text("new")
    assert (folder / "model.json").read_text() == "old"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_with_other_things_is_not_replaced(small_network, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="must be a new or empty folder or a bundle"):
        export.export_bundle(small_network, tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def copy_bundle(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    info = json.loads((target / "model.json").read_text())
    (target / "model.json").write_text(json.dumps({**info, "name": target.name}))
    return target
