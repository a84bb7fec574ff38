"""Every form of checkpoint gives the same network, and what does not fit is named."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from sameo_model.modeling import (
    CheckpointMismatchError,
    Sameo,
    build_sameo,
    load_checkpoint,
    save_checkpoint,
)
from sameo_model.modeling.checkpoint import describe
from sameo_model.runtime.framing import Framing
from tests import golden


@pytest.fixture(scope="module")
def lite() -> Sameo:
    torch.manual_seed(2)
    model = build_sameo("sameo_lite", 96, visible_decoder=True)
    model.mask_selection = "token0"
    return model


@pytest.fixture(scope="module")
def official_state() -> dict[str, torch.Tensor]:
    return golden.state_dict("efficient_sam_vitt")


@pytest.fixture(scope="module")
def official_file(
    official_state: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("official") / "efficient_sam_vitt.pt"
    torch.save({"model": official_state}, path)
    return path


def assert_same_weights(first: Sameo, second: Sameo) -> None:
    torch.testing.assert_close(
        dict(first.state_dict()), dict(second.state_dict()), atol=0.0, rtol=0.0
    )


def test_our_file_gives_the_same_network_back(lite, tmp_path):
    save_checkpoint(lite, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert_same_weights(loaded, lite)
    assert describe(loaded) == describe(lite)
    assert describe(loaded) == {
        "preset": "sameo_lite",
        "framing": {"kind": "window", "padding": 0.3, "min_side": 64},
        "image_size": 96,
        "has_visible_decoder": True,
        "mask_selection": "token0",
        "visible_mask_selection": "min_loss",
    }
    assert not loaded.training


def test_a_size_of_0_is_not_taken_for_the_size_of_the_file(tmp_path):
    save_checkpoint(build_sameo("sameo_lite", 64), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="must be a positive multiple of 32, got 0"):
        load_checkpoint(tmp_path / "model.safetensors", image_size=0)


def test_the_caller_may_change_size_and_leave_out_the_visible_decoder(tmp_path):
    model = build_sameo("efficient_sam_vitt", 96, visible_decoder=True)
    save_checkpoint(model, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "model.safetensors", image_size=128, visible_decoder=False)
    assert loaded.image_size == 128
    assert not loaded.has_visible_decoder


def test_half_precision_rounds_large_weights_alone(lite, tmp_path):
    save_checkpoint(lite, tmp_path / "half.safetensors", half=True)
    save_checkpoint(lite, tmp_path / "full.safetensors")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.52 * sizes[1]
    loaded = load_checkpoint(tmp_path / "half.safetensors").state_dict()
    for name, value in lite.state_dict().items():
        assert loaded[name].dtype == value.dtype
        # float16 has 11 significant bits: half a unit in the last place is 2^-11.
        torch.testing.assert_close(loaded[name], value, rtol=2**-11, atol=1e-7)
    fourier = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
    assert torch.equal(loaded[fourier], lite.state_dict()[fourier])
    weight = "image_encoder.neck.mix.1.weight"
    assert not torch.equal(loaded[weight], lite.state_dict()[weight])


def test_official_file_loads_and_its_preset_is_recognised(official_file, official_state):
    model = load_checkpoint(official_file, image_size=512)
    assert (model.preset, model.image_size) == ("efficient_sam_vitt", 512)
    assert model.mask_selection == "best_predicted"
    assert not model.has_visible_decoder
    assert torch.equal(
        model.state_dict()["mask_decoder.iou_token.weight"],
        official_state["mask_decoder.iou_token.weight"],
    )


def test_official_decoder_serves_as_visible_decoder_when_asked(official_file):
    model = load_checkpoint(official_file, visible_decoder=True)
    assert model.visible_decoder is not None
    copied = model.visible_decoder.state_dict()
    for name, value in model.mask_decoder.state_dict().items():
        assert torch.equal(copied[name], value)
        assert copied[name].data_ptr() != value.data_ptr()


def test_fetched_official_file_is_found_by_name(official_file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="checkpoints fetch efficient_sam_vitt"):
        load_checkpoint("efficient_sam_vitt")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "efficient_sam_vitt.pt").symlink_to(official_file)
    assert load_checkpoint("efficient_sam_vitt").preset == "efficient_sam_vitt"


def test_training_checkpoint_keeps_what_is_stored_beside_the_weights(lite, tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": lite.state_dict(), "sameo": describe(lite), "step": 7}, path)
    loaded = load_checkpoint(path)
    assert_same_weights(loaded, lite)
    assert describe(loaded) == describe(lite)


def test_a_checkpoint_carries_its_framing(tmp_path):
    model = build_sameo("sameo_lite", 64)
    model.framing = Framing("window", padding=0.25, min_side=32)
    save_checkpoint(model, tmp_path / "model.safetensors")
    loaded = load_checkpoint(tmp_path / "model.safetensors")
    assert loaded.framing == model.framing
    assert loaded.has_visible_decoder


def test_a_framing_of_a_newer_version_is_refused(lite, tmp_path):
    path = tmp_path / "newer.pt"
    content = {**describe(lite), "framing": {"kind": "spiral"}}
    torch.save({"model": lite.state_dict(), "sameo": content}, path)
    with pytest.raises(ValueError, match="framing kind must be 'image' or 'window', got 'spiral'"):
        load_checkpoint(path)


def test_missing_extra_and_misshapen_tensors_are_listed(official_state, tmp_path):
    broken = dict(official_state)
    del broken["mask_decoder.iou_token.weight"]
    broken["image_encoder.extra"] = torch.zeros(1)
    broken["image_encoder.pos_embed"] = torch.zeros(1, 50, 192)
    torch.save({"model": broken}, tmp_path / "broken.pt")
    with pytest.raises(CheckpointMismatchError) as caught:
        load_checkpoint(tmp_path / "broken.pt")
    message = str(caught.value)
    assert "tensors of efficient_sam_vitt, but 3 differ" in message
    assert "mask_decoder.iou_token.weight is missing" in message
    assert "image_encoder.extra is not part of the network" in message
    assert "image_encoder.pos_embed must have shape (1, 197, 192), has (1, 50, 192)" in message


def test_a_long_list_of_differences_is_cut(tmp_path):
    torch.save({"model": {f"x{index}": torch.zeros(1) for index in range(5)}}, tmp_path / "x.pt")
    with pytest.raises(CheckpointMismatchError, match=r"; and \d+ more; give a checkpoint"):
        load_checkpoint(tmp_path / "x.pt")


class Bomb:
    """Its pickle runs code when it is read carelessly."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('the pickle ran code')",))


def test_pickles_that_hold_code_are_refused(tmp_path):
    torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(ValueError, match="not a PyTorch file of plain tensors"):
        load_checkpoint(tmp_path / "bomb.pt")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not a checkpoint"], ids=["empty", "text"])
def test_unreadable_files_are_refused(tmp_path, suffix, content):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(path.name)):
        load_checkpoint(path)


def test_a_truncated_file_is_refused(lite, tmp_path):
    path = tmp_path / "model.safetensors"
    save_checkpoint(lite, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        load_checkpoint(path)


def test_a_file_without_state_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="must hold a state dict, bare or under the key 'model'"):
        load_checkpoint(tmp_path / "list.pt")


def test_a_fine_tuned_network_gets_no_visible_decoder_from_nothing(tmp_path):
    save_checkpoint(build_sameo("efficient_sam_vitt", 64), tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="holds no visible decoder"):
        load_checkpoint(tmp_path / "model.safetensors", visible_decoder=True)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing.safetensors", "checkpoint nothing.safetensors does not exist"),
        ("nothing", "'nothing' is neither a bundled model"),
    ],
)
def test_a_missing_file_or_unknown_name_is_named(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=message):
        load_checkpoint(name)


def test_a_foreign_safetensors_file_is_recognised_by_its_shapes(official_state, tmp_path):
    path = tmp_path / "converted.safetensors"
    safetensors.torch.save_file(official_state, path)
    assert load_checkpoint(path).preset == "efficient_sam_vitt"


def test_the_shipped_bundle_is_found_by_name():
    model = load_checkpoint("sameo_lite")
    assert (model.preset, model.image_size) == ("sameo_lite", 256)
    assert model.has_visible_decoder


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_the_sameo_lite_of_release_0_1_is_recognised(lite, tmp_path, suffix):
    former = {**lite.state_dict(), "mask_decoder.detail_skips.stride4.weight": torch.zeros(2, 2)}
    path = tmp_path / f"model{suffix}"
    if suffix == ".pt":
        torch.save({"model": former}, path)
    else:
        safetensors.torch.save_file(former, path)
    with pytest.raises(CheckpointMismatchError, match=r"is a sameo_lite of version 0\.1,"):
        load_checkpoint(path)
