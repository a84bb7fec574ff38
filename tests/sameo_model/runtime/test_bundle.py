import json

import pytest

from sameo_model.runtime import bundle as bundles
from sameo_model.runtime.bundle import load_bundle, write_bundle_info
from tests.bundles import make_tiny_bundle


@pytest.fixture
def folder(tmp_path):
    return make_tiny_bundle(tmp_path / "tiny")


def rewrite(folder, **changes):
    path = folder / "model.json"
    content = json.loads(path.read_text())
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    path.write_text(json.dumps(content))


def test_a_whole_bundle_is_loaded(folder):
    bundle = load_bundle(folder)
    assert bundle.info.name == "tiny"
    assert bundle.info.image_size == 64
    assert bundle.image_encoder.is_file()
    assert bundle.visible_decoder == folder / "visible_decoder.onnx"


def test_a_bundle_without_visible_decoder_has_none(tmp_path):
    folder = make_tiny_bundle(tmp_path / "tiny", visible=False)
    assert load_bundle(folder).visible_decoder is None
    assert not (folder / "visible_decoder.onnx").exists()


def test_bundled_models_go_by_name(folder, monkeypatch):
    monkeypatch.setattr(bundles, "WEIGHTS_FOLDER", folder.parent)
    assert load_bundle("tiny").folder == folder
    assert bundles.bundled_models() == ["tiny"]


def test_no_name_means_the_default_model(folder, monkeypatch):
    monkeypatch.setattr(bundles, "WEIGHTS_FOLDER", folder.parent)
    folder.rename(folder.parent / "sameo_lite")
    assert load_bundle().folder == folder.parent / "sameo_lite"


def test_an_unknown_model_is_answered_with_the_known_ones(folder, monkeypatch):
    monkeypatch.setattr(bundles, "WEIGHTS_FOLDER", folder.parent)
    with pytest.raises(FileNotFoundError, match=r"model 'nothing' is neither .*there are: tiny"):
        load_bundle("nothing")


def test_a_folder_without_model_json_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nor a folder with model\.json"):
        load_bundle(tmp_path)


def test_a_missing_file_is_named(folder):
    (folder / "mask_decoder.onnx").unlink()
    with pytest.raises(FileNotFoundError, match=r"mask_decoder\.onnx is missing"):
        load_bundle(folder)


def test_a_single_changed_byte_is_found(folder):
    path = folder / "image_encoder.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"image_encoder\.onnx is corrupted"):
        load_bundle(folder)


def test_a_model_json_that_is_cut_off_is_rejected(folder):
    path = folder / "model.json"
    path.write_text(path.read_text()[:100])
    with pytest.raises(ValueError, match=r"model\.json is not JSON"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"name": None}, "'name' must be str", id="missing key"),
        pytest.param({"image_size": "64"}, "'image_size' must be int", id="wrong type"),
        pytest.param(
            {"has_visible_decoder": 1}, "'has_visible_decoder' must be bool", id="no bool"
        ),
        pytest.param({"colour": "red"}, "'colour' is unknown", id="unknown key"),
        pytest.param({"image_size": 100}, "multiple of 16, not 100", id="odd size"),
        pytest.param({"files": {}}, r"'files' must name image_encoder\.onnx", id="no files"),
        pytest.param({"detector": {"image_size": 64}}, "needs detector.onnx", id="no detector"),
        pytest.param({"preset": None, "opset": None}, "'preset'.*'opset'", id="all faults at once"),
    ],
)
def test_a_model_json_that_breaks_its_format_is_rejected(folder, changes, message):
    rewrite(folder, **changes)
    with pytest.raises(ValueError, match=rf"model\.json breaks its format: .*{message}"):
        load_bundle(folder)


def test_a_file_outside_the_folder_is_rejected(folder):
    files = json.loads((folder / "model.json").read_text())["files"]
    rewrite(folder, files={**files, "../secret": "0"})
    with pytest.raises(ValueError, match=r"'\.\./secret', which is no plain file name"):
        load_bundle(folder)


def test_a_list_in_place_of_the_object_is_rejected(folder):
    (folder / "model.json").write_text("[]")
    with pytest.raises(ValueError, match="must hold a JSON object"):
        load_bundle(folder)


def test_writing_the_info_needs_the_graphs(tmp_path):
    fields = {"name": "x", "preset": "x", "image_size": 64, "normalisation": {}, "opset": 18}
    fields |= {"mask_selection": "x", "has_visible_decoder": False, "licence": "x"}
    with pytest.raises(ValueError, match=r"'files' must name image_encoder\.onnx"):
        write_bundle_info(tmp_path, **fields, training={}, scores={})
    assert not (tmp_path / "model.json").exists()
