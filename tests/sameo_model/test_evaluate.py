import csv
import json
from pathlib import Path

import pytest

from sameo_model import evaluate
from sameo_model.data.rle import encode_mask
from sameo_model.evaluation.mask_metrics import evaluate_masks
from sameo_model.evaluation.torch_predictor import wrap_model
from sameo_model.modeling import build_sameo, save_checkpoint
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.scenes import filled, two_squares, write_set

COCOA = Path(__file__).resolve().parents[3] / "shared" / "samples" / "cocoa"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


def _masks_arguments(folder, bundle, *more):
    annotations = write_set(folder, [two_squares(folder)])
    return [
        "masks",
        *("--annotations", str(annotations), "--images", str(folder / "images")),
        *("--prompts", "visible", "--model", str(bundle), "--backend", "onnxruntime"),
        *more,
    ]


def test_masks_writes_the_contracted_json_and_a_line_per_object(tmp_path, bundle, capsys):
    output = tmp_path / "out" / "scores.json"

    assert evaluate.main(_masks_arguments(tmp_path, bundle, "--json", str(output))) == 0

    result = json.loads(output.read_text())
    assert set(result) >= {
        *("num_instances", "num_occluded", "miou_full", "miou_full_occluded"),
        *("miou_full_unoccluded", "miou_hidden", "miou_visible", "iou_spearman", "bins"),
        *(f"baseline_{name}_miou_full" for name in ("visible", "box", "hull")),
        *(f"baseline_{name}_miou_full_occluded" for name in ("visible", "box", "hull")),
        *("per_instance", "settings"),
    }
    # The tiny model fills the visible box but its corners, see test_mask_metrics.
    assert result["miou_full"] == pytest.approx((508 / 1024 + 252 / 256) / 2)
    assert result["settings"]["prompts"] == "visible"
    assert result["settings"]["backend"] == "onnxruntime"
    with (output.parent / result["per_instance"]).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["annotation_id"] for row in rows] == ["1", "2"]
    assert float(rows[0]["iou_full"]) == pytest.approx(508 / 1024, abs=1e-5)
    assert rows[1]["iou_hidden"] == ""
    assert "miou_full" in capsys.readouterr().out


def test_backends_score_alike(tmp_path, bundle):
    results = []
    for backend in ("onnxruntime", "openvino"):
        output = tmp_path / f"{backend}.json"
        arguments = _masks_arguments(tmp_path, bundle, "--json", str(output))
        arguments[arguments.index("--backend") + 1] = backend
        assert evaluate.main(arguments) == 0
        results.append(json.loads(output.read_text()))

    assert results[0]["miou_full"] == pytest.approx(results[1]["miou_full"], abs=1e-6)
    assert [result["settings"]["backend"] for result in results] == ["onnxruntime", "openvino"]


def test_checkpoints_are_scored_in_pytorch_without_export(tmp_path):
    checkpoint = tmp_path / "model.safetensors"
    model = build_sameo("sameo_lite", image_size=64)
    save_checkpoint(model, checkpoint)
    output = tmp_path / "scores.json"
    arguments = _masks_arguments(tmp_path, checkpoint, "--batch-size", "2", "--json", str(output))
    arguments[arguments.index("--backend") + 1] = "torch"

    assert evaluate.main(arguments) == 0
    result = json.loads(output.read_text())
    direct = evaluate_masks(wrap_model(model), [two_squares(tmp_path)], prompts="visible")
    assert result["settings"]["backend"] == "torch"
    assert result["miou_full"] == pytest.approx(direct["miou_full"])


@pytest.mark.skipif(not COCOA.is_dir(), reason="the photographs of ../shared/samples are missing")
def test_real_cocoa_annotations_are_scored_on_their_photographs(tmp_path, bundle):
    output = tmp_path / "scores.json"
    status = evaluate.main(
        [
            "masks",
            *("--dataset", "cocoa", "--annotations", str(COCOA / "COCO_amodal_sample.json")),
            *("--images", str(COCOA), "--prompts", "amodal", "--model", str(bundle)),
            *("--backend", "onnxruntime", "--json", str(output)),
        ]
    )

    assert status == 0
    result = json.loads(output.read_text())
    # Two photographs with 13 regions, of which 6 are hidden by more than 5 %.
    assert (result["num_instances"], result["num_occluded"]) == (13, 6)
    # The tiny model fills the prompt box, as the baseline does.
    assert result["miou_full"] == pytest.approx(result["baseline_box_miou_full"], abs=0.02)


def test_truncated_annotations_end_in_one_sentence(tmp_path, bundle, capsys):
    arguments = _masks_arguments(tmp_path, bundle)
    annotations = tmp_path / "annotations.json"
    annotations.write_text(annotations.read_text()[:-40])

    assert evaluate.main(arguments) == 2
    assert "annotations.json" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--box-noise", "0.5"], r"share must lie in [0, 0.5)"),
        (["--limit", "0"], "--limit must be at least 1"),
        (["--batch-size", "0"], "--batch-size must be at least 1"),
        (["--model", "no_such_model"], "no_such_model"),
        (["--images", "no/such/folder"], "image folder no/such/folder does not exist"),
    ],
)
def test_wrong_options_end_in_one_sentence(tmp_path, bundle, capsys, more, message):
    assert evaluate.main([*_masks_arguments(tmp_path, bundle), *more]) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_masks_goes_on_from_kept_predictions(tmp_path, bundle):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    arguments = _masks_arguments(tmp_path, bundle, "--predictions", str(tmp_path / "kept"))

    assert evaluate.main([*arguments, "--json", str(first)]) == 0
    (tmp_path / "images" / "000007.png").unlink()
    assert evaluate.main([*arguments, "--json", str(second)]) == 0

    results = [json.loads(path.read_text()) for path in (first, second)]
    assert [result["settings"]["images_predicted"] for result in results] == [1, 0]
    assert results[0]["miou_full"] == results[1]["miou_full"]
    assert (tmp_path / "first.instances.csv").read_text() == (
        tmp_path / "second.instances.csv"
    ).read_text()


def test_kept_predictions_of_other_boxes_are_refused(tmp_path, bundle, capsys):
    arguments = _masks_arguments(tmp_path, bundle, "--predictions", str(tmp_path / "kept"))
    assert evaluate.main(arguments) == 0

    assert evaluate.main([*arguments, "--box-noise", "0.1"]) == 2
    assert "give another --predictions folder" in capsys.readouterr().err


def test_masks_names_a_missing_file_in_one_sentence(tmp_path, bundle, capsys):
    arguments = _masks_arguments(tmp_path, bundle)
    arguments[2] = str(tmp_path / "nothing.json")

    assert evaluate.main(arguments) == 2
    error = capsys.readouterr().err
    assert "nothing.json" in error
    assert error.count("\n") == 1


def test_masks_leaves_no_result_behind_when_an_image_is_missing(tmp_path, bundle, capsys):
    output = tmp_path / "out" / "scores.json"
    arguments = _masks_arguments(tmp_path, bundle, "--json", str(output))
    (tmp_path / "images" / "000007.png").unlink()

    assert evaluate.main(arguments) == 2
    assert "000007.png" in capsys.readouterr().err
    assert not output.exists()


def _detections_arguments(folder, *more, images=None, detections=None, model="none"):
    annotations = write_set(folder, images or [two_squares(folder)])
    path = folder / "detections.json"
    path.write_text(json.dumps(_perfect_detections() if detections is None else detections))
    return [
        "detections",
        *("--annotations", str(annotations), "--images", str(folder / "images")),
        *("--detections", str(path), "--model", str(model), "--replicates", "20"),
        *(() if model == "none" else ("--backend", "onnxruntime")),
        *more,
    ]


def _record(box_xyxy, score, mask=None, image_id=7, category_id=1):
    x1, y1, x2, y2 = box_xyxy
    record = {
        "image_id": image_id,
        "category_id": category_id,
        "score": score,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
    }
    if mask is not None:
        rle = encode_mask(filled((64, 64), mask))
        record["segmentation"] = {"size": [64, 64], "counts": rle["counts"].decode()}
    return record


def _perfect_detections():
    """A modal detector's: the visible masks of both squares."""
    return [
        _record((8, 8, 40, 24), 0.9, (8, 8, 40, 24)),
        _record((44, 44, 60, 60), 0.8, (44, 44, 60, 60)),
    ]


def test_detections_without_a_model_scores_the_masks_themselves(tmp_path, capsys):
    output = tmp_path / "out.json"
    arguments = _detections_arguments(tmp_path, "--json", str(output))

    assert evaluate.main(arguments) == 0

    result = json.loads(output.read_text())
    # Two truths. The small square is exact. The visible half of the big one has IoU 0.5 with it:
    # a hit at .50 alone. At .50: AP 1; at the nine others: miss, hit: recall 1/2 at precision
    # 1/2: 51/101/2.
    expected = (1 + 9 * 51 / 101 / 2) / 10
    assert result["ap"] == pytest.approx(expected)
    assert result["ap50"] == pytest.approx(1)
    assert result["ap75"] == pytest.approx(51 / 101 / 2)
    assert result["ar"] == pytest.approx((1 + 9 * 0.5) / 10)
    assert result["headline"] == "front_end"
    # The detector's masks are the true visible masks here.
    rows = {row["name"]: row["ap"] for row in result["rows"]}
    assert rows["true_visible"] == pytest.approx(expected)
    assert result["settings"]["model"] == "none"
    assert "front end's own masks" in capsys.readouterr().out
    with (tmp_path / result["per_instance"]).open() as file:
        lines = list(csv.DictReader(file))
    assert [float(line["iou_front_end"]) for line in lines] == [0.5, 1.0]


def test_detections_with_a_model_compares_all_rows_on_the_same_boxes(tmp_path, bundle):
    output = tmp_path / "out.json"
    arguments = _detections_arguments(tmp_path, "--json", str(output), model=bundle)

    assert evaluate.main(arguments) == 0

    result = json.loads(output.read_text())
    assert [row["name"] for row in result["rows"]] == [
        "front_end",
        "true_visible",
        "visible_decoder",
        "sameo_no_rescore",
        "sameo",
    ]
    assert result["headline"] == "sameo"
    rows = {row["name"]: row for row in result["rows"]}
    # The tiny model fills the box but its corners: IoU 508/1024 with the big square (no hit at
    # .50), 252/256 with the small one (a hit everywhere). Miss (0.9) before hit (0.8).
    assert rows["sameo"]["ap"] == pytest.approx(51 / 101 / 2)
    assert result["ap"] == rows["sameo"]["ap"]
    assert {entry["against"] for entry in result["differences"]} == set(rows) - {"sameo"}
    assert result["calibration"]["bins"][5]["num"] == 2  # 128 / 255 for both
    assert rows["sameo"]["uoais"]["amodal"]["overlap_precision"] == pytest.approx(1)
    assert result["settings"]["sha256"]


@pytest.mark.parametrize("command", ["masks", "detections"])
def test_the_precision_reaches_the_backend(tmp_path, bundle, capsys, command):
    output = tmp_path / "out.json"
    arguments = _masks_arguments(tmp_path, bundle, "--json", str(output))
    if command == "detections":
        arguments = _detections_arguments(tmp_path, "--json", str(output), model=bundle)

    # Both, so that one of them is not what the backend would have chosen by itself.
    for precision in ("f32", "bf16"):
        openvino = [*arguments, "--backend", "openvino", "--precision", precision]
        assert evaluate.main(openvino) == 0
        assert json.loads(output.read_text())["settings"]["device"] == f"CPU, {precision}"
    for backend in ("onnxruntime", "torch"):
        assert evaluate.main([*arguments, "--backend", backend, "--precision", "bf16"]) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert f"backend {backend}" in message
        assert "in precision f32, not 'bf16'" in message


def test_no_rescore_and_class_specific_are_honoured(tmp_path, bundle):
    output = tmp_path / "out.json"
    swapped = [{**record, "category_id": 1} for record in _perfect_detections()]
    arguments = _detections_arguments(
        tmp_path,
        *("--no-rescore", "--class-specific", "--json", str(output)),
        detections=swapped,
        model=bundle,
    )

    assert evaluate.main(arguments) == 0
    result = json.loads(output.read_text())
    assert result["headline"] == "sameo_no_rescore"
    assert result["settings"]["class_specific"] is True


def test_annotation_number_zero_counts(tmp_path):
    output = tmp_path / "out.json"
    arguments = _detections_arguments(tmp_path, "--json", str(output))
    annotations = tmp_path / "annotations.json"
    content = json.loads(annotations.read_text())
    for number, record in enumerate(content["annotations"]):
        record["id"] = number
    annotations.write_text(json.dumps(content))

    assert evaluate.main(arguments) == 0
    assert json.loads(output.read_text())["ap50"] == pytest.approx(1)


def test_repeated_annotation_numbers_are_told_and_counted_apart(tmp_path, capsys):
    output = tmp_path / "out.json"
    arguments = _detections_arguments(tmp_path, "--json", str(output))
    annotations = tmp_path / "annotations.json"
    content = json.loads(annotations.read_text())
    for record in content["annotations"]:
        record["id"] = 5
    annotations.write_text(json.dumps(content))

    assert evaluate.main(arguments) == 0
    result = json.loads(output.read_text())
    assert result["num_truths"] == 2
    assert result["ap50"] == pytest.approx(1)
    assert any("numbered anew" in note for note in result["settings"]["notes"])
    assert "numbered anew" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("detections", "more", "message"),
    [
        ([_record((1, 1, 9, 9), 0.5)], [], "must have masks to be scored without a model"),
        ([_record((1, 1, 9, 9), 0.5, (1, 1, 9, 9), image_id=1)], [], "no image in common"),
        (
            [_record((1, 1, 9, 9), 0.5, (1, 1, 9, 9), category_id=9)],
            ["--class-specific"],
            "class 9 of",
        ),
        ([_record((1, 1, 9, 9), float("nan"), (1, 1, 9, 9))], [], "scores must be finite"),
    ],
    ids=["no masks", "other data set", "unknown class", "NaN score"],
)
def test_detections_that_cannot_be_scored_end_in_one_sentence(
    tmp_path, capsys, detections, more, message
):
    output = tmp_path / "out.json"
    arguments = _detections_arguments(tmp_path, "--json", str(output), *more, detections=detections)

    assert evaluate.main(arguments) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not output.exists()


@pytest.mark.parametrize(
    ("command", "option", "smallest"),
    [
        *(("detections", "--seed", 0), ("detections", "--replicates", 0)),
        *(("detections", "--max-dets", 1), ("masks", "--seed", 0)),
        *(("compare", "--seed", 0), ("compare", "--replicates", 1)),
    ],
)
def test_numbers_out_of_range_are_refused_before_the_model_runs(capsys, command, option, smallest):
    with pytest.raises(SystemExit):
        evaluate.main([command, option, str(smallest - 1)])
    message = f"{option}: must be a whole number of at least {smallest}, got '{smallest - 1}'"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "70", "-0.1", "x"])
@pytest.mark.parametrize(
    ("command", "option"), [("detections", "--nms"), ("compare", "--tolerance")]
)
def test_shares_out_of_range_are_refused(capsys, command, option, value):
    with pytest.raises(SystemExit):
        evaluate.main([command, f"{option}={value}"])
    assert f"{option}: must lie from 0 to 1, got '{value}'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--score-threshold", "--uoais-threshold"])
def test_thresholds_lie_on_the_scale_of_the_scores(tmp_path, capsys, option):
    arguments = _detections_arguments(tmp_path)
    for value in ("50", "nan", "-1"):
        assert evaluate.main([*arguments, f"{option}={value}"]) == 2
        message = f"{option} must lie from 0 to 1, as the scores do, got {value}"
        assert message in capsys.readouterr().err
    logits = [{**record, "score": 4.5} for record in _perfect_detections()]
    arguments = _detections_arguments(tmp_path, detections=[*logits, {**logits[0], "score": -2}])
    assert evaluate.main([*arguments, f"{option}=4"]) == 0
    assert evaluate.main([*arguments, f"{option}=nan"]) == 2
    assert f"{option} must be a finite number, got nan" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "more", "message"),
    [
        ("none", ["--backend", "auto"], "--backend needs a model, got --model none"),
        ("none", ["--batch-size", "1"], "--batch-size needs a model, got --model none"),
        ("none", ["--no-rescore"], "--no-rescore needs a model, got --model none"),
        ("none", ["--predictions", "kept"], "--predictions needs a model, got --model none"),
        ("none", ["--class-names", "a,b"], "--class-names is for files that number classes by"),
        (
            "sameo_lite",
            ["--batch-size", "8"],
            "--batch-size needs --backend torch, got backend onn",
        ),
        ("sameo_lite", ["--backend", "torch", "--threads", "2"], "--threads needs another backend"),
    ],
)
def test_options_without_effect_are_refused(tmp_path, capsys, model, more, message):
    assert evaluate.main(_detections_arguments(tmp_path, *more, model=model)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_scores_of_no_known_scale_cannot_be_rescored(tmp_path, bundle, capsys):
    detections = [_record((1, 1, 9, 9), 370.0)]
    arguments = _detections_arguments(tmp_path, detections=detections, model=bundle)

    assert evaluate.main(arguments) == 2
    assert "scores must lie in [0, 1]" in capsys.readouterr().err
    assert evaluate.main([*arguments, "--no-rescore"]) == 0


def test_duplicates_low_scores_and_further_images_can_be_left_out(tmp_path):
    output = tmp_path / "out.json"
    big, small = _perfect_detections()
    low = _record((0, 50, 8, 60), 0.05, (0, 50, 8, 60))
    duplicate = _record((44, 44, 60, 59), 0.7, (44, 44, 60, 59))
    arguments = _detections_arguments(
        tmp_path, "--json", str(output), detections=[big, small, low, duplicate]
    )

    assert evaluate.main(arguments) == 0
    assert json.loads(output.read_text())["num_detections"] == 4
    assert evaluate.main([*arguments, "--nms", "0.7", "--score-threshold", "0.1"]) == 0
    assert json.loads(output.read_text())["num_detections"] == 2


def test_no_detections_at_all_score_zero(tmp_path, bundle):
    output = tmp_path / "out.json"
    arguments = _detections_arguments(tmp_path, "--json", str(output), detections=[], model=bundle)

    assert evaluate.main(arguments) == 0
    assert json.loads(output.read_text())["ap"] == 0


def _write_visible_alone(folder):
    annotations = write_set(folder, [two_squares(folder)])
    document = json.loads(annotations.read_text())
    for record in document["annotations"]:
        record["segmentation"] = record.pop("visible_mask")
        record["bbox"] = record.pop("visible_bbox")
        del record["occlude_rate"]
    annotations.write_text(json.dumps(document))
    return ["--annotations", str(annotations), "--images", str(folder / "images")]


def test_plain_instance_masks_are_scored_as_what_they_are(tmp_path, bundle, capsys):
    data = _write_visible_alone(tmp_path)
    model = ["--model", str(bundle), "--backend", "onnxruntime"]
    output = tmp_path / "scores.json"
    arguments = ["masks", *data, *model, "--dataset", "coco_instances", "--json", str(output)]

    assert evaluate.main([*arguments, "--prompts", "visible"]) == 0

    result = json.loads(output.read_text())
    assert result["num_instances"] == 2
    assert result["miou_full"] is None
    assert result["miou_visible"] > 0.4
    assert sum(row["num"] for row in result["sizes"]) == 2
    capsys.readouterr()
    assert evaluate.main([*arguments, "--prompts", "amodal"]) != 0
    assert "must have amodal masks for this, but it annotates" in capsys.readouterr().err


def test_plain_instance_masks_are_no_truth_for_detections(tmp_path, capsys):
    data = _write_visible_alone(tmp_path)
    (tmp_path / "found.json").write_text("[]")
    arguments = ["detections", *data, "--detections", str(tmp_path / "found.json")]
    assert evaluate.main([*arguments, "--dataset", "coco_instances", "--model", "none"]) != 0
    assert "must have amodal masks for this, but it annotates" in capsys.readouterr().err


def test_plain_instance_masks_taken_for_amodal_ones_are_named(tmp_path, bundle, capsys):
    data = _write_visible_alone(tmp_path)
    assert evaluate.main(["masks", *data, "--prompts", "visible", "--model", str(bundle)]) != 0
    error = capsys.readouterr().err
    assert "`segmentation` is taken for the whole object" in error
    assert "pass --dataset coco_instances" in error
