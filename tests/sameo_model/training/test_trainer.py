"""The trainer learns, and a killed run goes on exactly where it was."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from sameo_model.modeling.checkpoint import load_checkpoint
from sameo_model.modeling.presets import build_sameo
from sameo_model.training.sample_plan import SamplePlan
from sameo_model.training.setup import open_sources
from sameo_model.training.trainer import train
from sameo_model.training.validation import ValidationResult
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import (
    RAGGED,
    assert_same_weights,
    make_config,
    make_model,
    make_sources,
    ragged_train,
)

VITT = "efficient_sam_vitt"
BOTH = ["mask_decoder", "visible_decoder"]


@pytest.mark.parametrize(
    ("decoders", "trained"),
    [(["mask_decoder"], ["mask_decoder"]), (BOTH, BOTH), (BOTH, ["visible_decoder"])],
    ids=["amodal", "both", "visible of both"],
)
def test_frozen_parts_stay_and_the_trained_decoders_move(tmp_path, decoders, trained):
    images = write_drawn_scenes(tmp_path / "data")
    before = make_model(VITT).state_dict()
    config = make_config(tmp_path, preset=VITT, decoders=decoders, trainable=trained, steps=1)
    after = train(config, make_model(VITT), make_sources(images)).state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(trained)


@pytest.mark.timeout(60)
def test_workers_start_after_opencv_has_used_its_threads(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)
        train(make_config(tmp_path, steps=1, workers=1), make_model(), make_sources(images))
        assert cv2.getNumThreads() == 2
    finally:
        cv2.setNumThreads(before)


def test_the_loss_of_two_decoders_is_the_sum_of_theirs(tmp_path):
    write_drawn_scenes(tmp_path / "data")
    totals = []
    for decoders in (BOTH, BOTH[:1], BOTH[1:]):
        config = make_config(
            tmp_path,
            preset=VITT,
            steps=1,
            decoders=decoders,
            output=str(tmp_path / "_".join(decoders)),
        )
        train(config, make_model(VITT), open_sources(config.train))
        lines = (Path(config.output) / "metrics.jsonl").read_text().splitlines()
        totals += [json.loads(line)["train/total"] for line in lines if "train/total" in line]
    assert totals[0] == pytest.approx(totals[1] + totals[2], rel=1e-4)


def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_sample(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    model = make_model()
    with torch.no_grad():
        model.mask_decoder.iou_token.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the loss must be finite, got nan at step 0 with"):
        train(make_config(tmp_path), model, make_sources(images))
    (batch,) = torch.load(tmp_path / "run" / "failed_step_0.pt", weights_only=True)
    assert batch["image"].shape == (4, 3, 64, 64)  # a window for each of two objects
    assert all(path.endswith(".png") for path in batch["paths"])


def test_gradient_that_is_not_finite_never_reaches_the_weights(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    model = make_model()
    model.mask_decoder.iou_token.weight.register_hook(lambda grad: grad * float("inf"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(FloatingPointError, match=r"the gradient must be finite, got .* at step 0"):
        train(make_config(tmp_path), model, make_sources(images))
    assert_same_weights(before, model.state_dict())


def test_accumulated_passes_give_the_step_of_one_pass(tmp_path):
    write_drawn_scenes(tmp_path / "data", 4)
    changes = {**RAGGED, "train": ragged_train(tmp_path / "data"), "steps": 1}
    config = make_config(tmp_path, **changes)
    sources = open_sources(config.train)
    draws = next(iter(SamplePlan(config, sources)))
    assert {len(sources[d.source].images[d.image_index].instances) for d in draws} == {1, 2}
    whole = train(config, make_model(), sources)
    config = make_config(
        tmp_path, **changes, max_images_at_once=1, output=str(tmp_path / "accumulated")
    )
    accumulated = train(config, make_model(), sources)
    assert_same_weights(whole.state_dict(), accumulated.state_dict(), rtol=1e-4, atol=1e-5)


def test_run_folder_holds_checkpoint_metrics_and_no_leftovers(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    (tmp_path / "run").mkdir()
    for name in (".last.ckpt.killed", ".best.safetensors.killed"):
        (tmp_path / "run" / name).write_text("half a file of a run that was killed")
    config = make_config(tmp_path, steps=2, val_interval=1)
    train(
        config,
        make_model(),
        make_sources(images),
        lambda model: ValidationResult({"miou_full": 0.5}),
    )
    run = tmp_path / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train/total" in line] == [1, 2]
    assert [line["val/miou_full"] for line in lines if "val/miou_full" in line] == [0.5, 0.5]
    assert not list(run.glob(".*"))
    assert any(run.glob("events.out.tfevents*"))
    assert load_checkpoint(run / "last.ckpt").preset == "sameo_lite"


def test_best_checkpoint_is_that_of_the_highest_score(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    scores, seen = iter((0.3, 0.6, 0.5)), []

    def validate(model):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return ValidationResult({"boundary_f": next(scores), "miou_full": 0.1})

    config = make_config(tmp_path, steps=3, val_interval=1, best_metric="boundary_f")
    train(config, make_model(), make_sources(images), validate)
    best = load_checkpoint(tmp_path / "run" / "best.safetensors").state_dict()
    assert_same_weights(seen[1], best)
    assert not torch.equal(
        seen[1]["mask_decoder.iou_token.weight"], seen[2]["mask_decoder.iou_token.weight"]
    )


def test_a_best_metric_that_is_undefined_is_refused(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    config = make_config(tmp_path, steps=1, best_metric="miou_hidden")
    with pytest.raises(ValueError, match=r"best_metric must be a score .* got miou_hidden"):
        train(
            config, make_model(), make_sources(images), lambda _: ValidationResult({"miou_full": 1})
        )


def test_a_best_metric_that_the_network_cannot_have_is_refused_before_training(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    config = make_config(tmp_path, preset=VITT, best_metric="miou_visible")
    model = build_sameo(VITT, 64)
    with pytest.raises(ValueError, match=r"got miou_visible, which is undefined for this network"):
        train(config, model, make_sources(images), lambda _: ValidationResult({}))
    assert not (tmp_path / "run").exists()


def test_a_compiled_run_takes_the_same_step_and_keeps_the_names_of_weights(tmp_path, monkeypatch):
    images = write_drawn_scenes(tmp_path / "data")
    plain = train(make_config(tmp_path, steps=1), make_model(), make_sources(images))
    compiled_parts = []

    def compile_quickly(module, **options):
        compiled_parts.append(type(module).__name__)
        # The graph is captured as usual, and run without code generation, which takes minutes.
        module._compiled_call_impl = torch.compile(module._call_impl, backend="eager", **options)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_quickly)
    config = make_config(tmp_path, steps=1, compile=True, output=str(tmp_path / "compiled"))
    compiled = train(config, make_model(), make_sources(images))
    assert compiled_parts == ["LiteImageEncoder", "LiteMaskDecoder"]
    assert_same_weights(plain.state_dict(), compiled.state_dict(), rtol=1e-4, atol=1e-5)
    assert load_checkpoint(tmp_path / "compiled" / "last.ckpt").preset == "sameo_lite"


def test_decoders_in_bfloat16_on_the_cpu_avoid_the_slow_attention(tmp_path):
    images = write_drawn_scenes(tmp_path / "data")
    seen = {}
    for precision in ("32-true", "bf16-mixed"):
        model = make_model()
        decode = model.decode_tokens

        def spy(*words, precision=precision, decode=decode, **options):
            seen[precision] = torch.backends.cuda.flash_sdp_enabled()
            return decode(*words, **options)

        model.decode_tokens = spy
        config = make_config(
            tmp_path, steps=1, precision=precision, output=f"{tmp_path}/{precision}"
        )
        train(config, model, make_sources(images))
    assert seen == {"32-true": True, "bf16-mixed": False}


def test_float16_needs_a_gpu(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    images = write_drawn_scenes(tmp_path / "data")
    with pytest.raises(ValueError, match="precision 16-mixed needs a GPU, got the CPU"):
        train(make_config(tmp_path, precision="16-mixed"), make_model(), make_sources(images))


@pytest.mark.parametrize("preset", ["efficient_sam_vitt", "sameo_lite"], ids=["image", "window"])
def test_training_with_clicks_teaches_what_a_click_means(tmp_path, preset):
    images = write_drawn_scenes(tmp_path / "data")
    samples = {"boxes_per_image": 4, "augment": False, "points": 4}
    config = make_config(tmp_path, steps=2, samples=samples, trainable=["prompt_encoder"])
    model = build_sameo(preset, 64)
    before = model.prompt_encoder.point_embeddings.weight.clone()
    train(config, model, make_sources(images))
    assert not torch.equal(model.prompt_encoder.point_embeddings.weight, before)
