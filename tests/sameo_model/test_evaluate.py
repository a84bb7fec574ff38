import csv
import json

import pytest

from sameo_model import evaluate
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.scenes import two_squares, write_set


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
