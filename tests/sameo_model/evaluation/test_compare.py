import csv
import json

import pytest

from sameo_model import evaluate
from sameo_model.evaluation.compare import compare, load_evaluation
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.scenes import filled, make_image, make_instance, write_set

HW = (64, 64)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """Eight images, each with a half hidden and a whole square."""
    folder = tmp_path_factory.mktemp("truth")
    images = []
    for number in range(1, 9):
        whole = filled(HW, (8, 8, 40, 24 + number))
        small = filled(HW, (44, 44, 60, 60))
        visible = whole & filled(HW, (0, 0, 64, 16))
        instances = [
            make_instance(2 * number, whole, visible),
            make_instance(2 * number + 1, small, small),
        ]
        images.append(make_image(folder, number, instances, HW))
    return write_set(folder, images)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def masks_run(truth, bundle, tmp_path):
    def run(name, prompts="visible"):
        output = tmp_path / f"{name}.json"
        status = evaluate.main(
            [
                "masks",
                *("--annotations", str(truth), "--images", str(truth.parent / "images")),
                *("--model", str(bundle), "--backend", "onnxruntime", "--prompts", prompts),
                *("--json", str(output)),
            ]
        )
        assert status == 0
        return output

    return run


def _change(path, output, change, settings=None):
    """Copy a result and its lines with other IoUs, as a better or worse model would have them."""
    result = json.loads(path.read_text())
    lines_path = path.with_name(result["per_instance"])
    with lines_path.open() as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        line["iou_full"] = str(float(line["iou_full"]) + change(line))
    result["per_instance"] = f"{output.stem}.instances.csv"
    result["settings"] |= settings or {}
    output.write_text(json.dumps(result))
    with output.with_name(result["per_instance"]).open("w") as file:
        writer = csv.DictWriter(file, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    return output


def _run(first, second, *more):
    return evaluate.main(["compare", str(first), str(second), "--replicates", "200", *more])


def test_an_evaluation_compared_with_itself_shows_no_difference(masks_run, tmp_path):
    path = masks_run("a")

    assert _run(path, path, "--json", str(tmp_path / "c.json")) == 0
    result = json.loads((tmp_path / "c.json").read_text())
    assert {item["difference"] for item in result["comparisons"]} == {0}
    assert result["regressions"] == []


def test_a_loss_beyond_the_tolerance_is_a_regression(masks_run, tmp_path, capsys):
    path = masks_run("a")
    worse = _change(path, tmp_path / "b.json", lambda line: -0.02)

    assert _run(path, worse) == 1
    assert "regression: mean IoU of objects fell by 0.0200" in capsys.readouterr().out
    assert _run(path, worse, "--tolerance", "0.019") == 1
    assert _run(path, _change(path, tmp_path / "c.json", lambda line: -1e-7)) == 0
    assert _run(path, worse, "--tolerance", "0.021") == 0
    # The other way round it is a gain.
    assert _run(worse, path) == 0


def test_a_loss_of_occluded_objects_alone_is_a_regression(masks_run, tmp_path, capsys):
    path = masks_run("a")
    shifted = _change(
        path,
        tmp_path / "b.json",
        lambda line: -0.03 if float(line["occlusion_rate"]) > 0.05 else 0.05,
    )

    assert _run(path, shifted) == 1
    out = capsys.readouterr().out
    assert "regression: mean IoU of occluded objects fell by 0.0300" in out
    assert "regression: mean IoU of objects" not in out


def test_differences_are_paired_and_judged(masks_run, tmp_path):
    path = masks_run("a")
    # Every object gains exactly 0.01: no resampling changes that, whatever the objects' spread.
    better = _change(path, tmp_path / "b.json", lambda line: 0.01)

    rows = {
        item.name: item
        for item in compare(load_evaluation(path), load_evaluation(better), replicates=100)
    }
    judged = rows["mean IoU of objects"].judged
    assert rows["mean IoU of objects"].num == 16
    assert judged.value == pytest.approx(0.01)
    assert (judged.low, judged.high) == (pytest.approx(0.01), pytest.approx(0.01))
    assert judged.p_value == pytest.approx(2 / 101)
    assert rows["mean IoU of images"].num == 8
    assert rows["mean IoU of hidden parts"].judged.p_value == 1
    # Heights 24 + n - 8, of which 8 rows are seen: half hidden for n = 1 (8 of 17), 2/3 for n = 8.
    assert rows["mean IoU, occlusion 0.5 to 0.8"].num == 8


def test_a_change_in_half_of_the_images_is_not_significant(masks_run, tmp_path):
    path = masks_run("a")
    mixed = _change(
        path, tmp_path / "b.json", lambda line: 0.02 if int(line["image_id"]) % 2 else -0.02
    )

    rows = compare(load_evaluation(path), load_evaluation(mixed), replicates=200)
    judged = rows[0].judged
    assert judged.value == pytest.approx(0)
    assert judged.low < 0 < judged.high
    assert judged.p_value > 0.5


def _detections_run(truth, output, shrink):
    records = []
    for image in json.loads(truth.read_text())["images"]:
        for box, score in (((8, 8, 32, 16 - shrink), 0.9), ((44, 44, 16, 16), 0.8)):
            x, y, w, h = box
            polygon = [x, y, x + w, y, x + w, y + h, x, y + h]
            records.append(
                {
                    "image_id": image["id"],
                    "category_id": 1,
                    "score": score,
                    "bbox": list(box),
                    "segmentation": [polygon],
                }
            )
    path = output.with_suffix(".detections.json")
    path.write_text(json.dumps(records))
    status = evaluate.main(
        [
            "detections",
            *("--annotations", str(truth), "--images", str(truth.parent / "images")),
            *("--detections", str(path), "--model", "none", "--replicates", "0"),
            *("--json", str(output)),
        ]
    )
    assert status == 0
    return output


def test_detections_are_compared_by_ap(truth, tmp_path, capsys):
    good = _detections_run(truth, tmp_path / "a.json", shrink=0)
    bad = _detections_run(truth, tmp_path / "b.json", shrink=8)

    assert _run(good, good) == 0
    assert _run(good, bad, "--json", str(tmp_path / "c.json")) == 1
    out = capsys.readouterr().out
    assert "regression: AP (images) fell by" in out
    rows = {
        item["name"]: item for item in json.loads((tmp_path / "c.json").read_text())["comparisons"]
    }
    first, second = (json.loads(path.read_text()) for path in (good, bad))
    assert rows["AP (images)"]["first"] == pytest.approx(first["ap"])
    assert rows["AP (images)"]["second"] == pytest.approx(second["ap"])
    assert rows["AR (images)"]["difference"] == pytest.approx(second["ar"] - first["ar"])


def test_runs_that_cannot_be_paired_are_refused(masks_run, truth, tmp_path, capsys):
    path = masks_run("a")

    assert _run(path, masks_run("amodal", "amodal")) == 2
    assert "must have the same prompts to be compared" in capsys.readouterr().err
    assert _run(path, _detections_run(truth, tmp_path / "d.json", shrink=0)) == 2
    assert "must come from the same command" in capsys.readouterr().err

    fewer = _change(path, tmp_path / "fewer.json", lambda line: 0)
    lines_path = tmp_path / "fewer.instances.csv"
    lines_path.write_text("\n".join(lines_path.read_text().splitlines()[:-1]) + "\n")
    assert _run(path, fewer) == 2
    assert "must score the same objects, got 16 and 15 with 15 in common" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"settings": 3}'])
def test_files_that_are_no_results_are_refused(tmp_path, capsys, content):
    path = tmp_path / "r.json"
    path.write_text(content)

    assert _run(path, path) == 2
    assert "must be a result file" in capsys.readouterr().err


def test_missing_files_are_named(masks_run, tmp_path, capsys):
    path = masks_run("a")
    assert _run(path, tmp_path / "nothing.json") == 2
    assert "nothing.json does not exist" in capsys.readouterr().err

    (tmp_path / "a.instances.csv").unlink()
    assert _run(path, path) == 2
    assert "a.instances.csv must lie beside" in capsys.readouterr().err


def test_visible_masks_are_compared_where_nothing_else_is_known(masks_run, tmp_path, capsys):
    first = masks_run("first")
    for name, change in (("known", 0.0), ("worse", -0.2)):
        result = json.loads(first.read_text())
        with first.with_name(result["per_instance"]).open() as file:
            lines = list(csv.DictReader(file))
        for line in lines:
            line["iou_visible"] = str(float(line["iou_visible"]) + change)
            # As of a set of plain instance masks.
            line |= {"iou_full": "", "iou_hidden": "", "occlusion_rate": ""}
        result["per_instance"] = f"{name}.instances.csv"
        (tmp_path / f"{name}.json").write_text(json.dumps(result))
        with (tmp_path / f"{name}.instances.csv").open("w") as file:
            writer = csv.DictWriter(file, list(lines[0]))
            writer.writeheader()
            writer.writerows(lines)
    sides = [load_evaluation(tmp_path / f"{name}.json") for name in ("known", "worse")]
    (comparison,) = compare(*sides, replicates=100)
    assert (comparison.name, comparison.num) == ("mean IoU of visible masks", 16)
    assert comparison.second - comparison.first == pytest.approx(-0.2)
    assert comparison.is_headline
