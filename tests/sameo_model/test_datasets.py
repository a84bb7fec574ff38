"""The command line `python -m sameo_model.datasets`."""

from __future__ import annotations

import json
import os

import cv2
import pytest

from sameo_model.data.collection import dataset_names, open_dataset
from sameo_model.data.defects import MAX_EXAMPLES
from sameo_model.datasets import main
from tests.sameo_model.data import fabricate as fab


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEO_CACHE", str(tmp_path / "cache"))


def test_list_shows_terms_source_and_layout_of_every_set(capsys, tmp_path):
    assert main(["list", "--json", str(tmp_path / "list.json")]) == 0
    text = capsys.readouterr().out
    for name in dataset_names():
        assert f"\n{name}: " in f"\n{text}"
    assert text.count("  licence ") == text.count("  obtain ") == len(dataset_names())
    entries = {entry["name"]: entry for entry in json.loads((tmp_path / "list.json").read_text())}
    assert entries["lvis"]["modalities"] == ["visible"]


def test_check_of_a_sound_set(tmp_path, capsys):
    fab.cocoa(tmp_path)
    assert main(["check", "cocoa", str(tmp_path), "--json", str(tmp_path / "check.json")]) == 0
    report = json.loads((tmp_path / "check.json").read_text())
    assert report["verdict"] == "sound"
    assert (report["num_images"], report["num_instances"], report["num_decoded"]) == (1, 2, 1)
    assert "cocoa: sound. 1 image, 2 instances read, 0 skipped" in capsys.readouterr().out


def test_check_counts_defects_with_example_ids(tmp_path, capsys):
    fab.amodal_coco(tmp_path)
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text())
    content["annotations"][1]["segmentation"] = []
    fab.save_json(path, content)
    assert main(["check", "amodal_coco", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "amodal_coco: usable. 1 image, 1 instance read, 1 skipped" in text
    assert "skipped         1  empty_segmentation" in text
    assert "(e.g. 2)" in text


def break_missing(path):
    path.unlink()


def break_damaged(path):
    path.write_bytes(b"no image")


def break_size(path):
    fab.save_image(path, (5, 5))


@pytest.mark.parametrize(
    ("break_it", "problem"),
    [
        (break_missing, "missing_images"),
        (break_damaged, "unreadable_images"),
        (break_size, "images_of_other_size"),
    ],
)
def test_check_fails_on_broken_images(tmp_path, break_it, problem):
    fab.amodal_coco(tmp_path)
    break_it(tmp_path / "images" / "42.png")
    report_path = tmp_path / "check.json"
    assert main(["check", "amodal_coco", str(tmp_path), "--json", str(report_path)]) == 1
    report = json.loads(report_path.read_text())
    assert report["verdict"] == "broken"
    assert report[problem]["count"] == 1
    assert "42.png" in report[problem]["examples"][0]


def test_check_says_why_a_set_without_objects_is_broken(tmp_path, capsys):
    fab.amodal_coco(tmp_path)
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text())
    skipped = [{**one, "iscrowd": 1} for one in content["annotations"]]
    for records, reason in (
        ([], "broken             no object: there are no annotations"),
        (skipped, "broken             no object: all 2 annotations are skipped"),
    ):
        fab.save_json(path, {**content, "annotations": records})
        assert main(["check", "amodal_coco", str(tmp_path)]) == 1
        assert reason in capsys.readouterr().out


@pytest.mark.parametrize(
    ("listed", "there"),
    [("a.JPG", "A.jpg"), ("gr\u00f6\u00dfe.png", "gro\u0308\u00dfe.png")],
    ids=["case", "Unicode form"],
)
def test_a_missing_image_of_nearly_the_same_name_is_named(tmp_path, capsys, listed, there):
    fab.amodal_coco(tmp_path)
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = listed
    fab.save_json(path, content)
    (tmp_path / "images" / "42.png").rename(tmp_path / "images" / there)
    hint = f"{there} is there, in another case or Unicode form; rename it"
    assert main(["check", "amodal_coco", str(tmp_path)]) == 1
    assert hint in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match=hint):
        open_dataset("amodal_coco", tmp_path)[0].load_rgb()


def test_folders_are_listed_for_the_missing_images_that_are_named_alone(
    tmp_path, capsys, monkeypatch
):
    fab.amodal_coco(tmp_path)
    path = tmp_path / "annotations.json"
    content = json.loads(path.read_text())
    image = content["images"][0]
    more = [{**image, "id": 1000 + i, "file_name": f"{i}/a.png"} for i in range(40)]
    fab.save_json(path, {**content, "images": [image, *more]})
    listed = []
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(folder) or [])
    assert main(["check", "amodal_coco", str(tmp_path), "--decode", "0"]) == 1
    assert "broken         40  missing_images" in capsys.readouterr().out
    assert len(listed) == MAX_EXAMPLES


def test_check_can_leave_images_undecoded(tmp_path):
    fab.amodal_coco(tmp_path)
    break_damaged(tmp_path / "images" / "42.png")
    assert main(["check", "amodal_coco", str(tmp_path), "--decode", "0"]) == 0
    assert main(["check", "amodal_coco", str(tmp_path), "--decode", "-1"]) == 1


def test_check_in_several_processes(tmp_path):
    fab.amodal_coco(tmp_path)
    arguments = ["check", "amodal_coco", str(tmp_path), "--workers", "2"]
    assert main([*arguments, "--json", str(tmp_path / "check.json")]) == 0
    assert json.loads((tmp_path / "check.json").read_text())["num_decoded"] == 1


def test_stats_prints_the_row_of_table_1_beside_the_papers(tmp_path, capsys):
    fab.cocoa(tmp_path)
    json_path, plot_path = tmp_path / "stats.json", tmp_path / "plots" / "stats.png"
    arguments = ["stats", "cocoa", str(tmp_path), "--json", str(json_path)]
    assert main([*arguments, "--plot", str(plot_path)]) == 0
    content = json.loads(json_path.read_text())
    assert content["num_images"] == 1
    assert content["num_instances"] == 2
    # One of two is occluded, by 4 of 20 pixels.
    assert content["poi"] == 0.5
    assert content["mean_ror"] == pytest.approx(0.2)
    assert content["paper"]["num_instances"]["difference"] == 2 - 32_926
    text = capsys.readouterr().out
    assert "num_instances            2       32926      -32924" in text
    assert "poi                  50.0%       54.9%       -4.9%" in text
    assert cv2.imread(str(plot_path)) is not None


def test_stats_says_how_many_instances_each_rule_removed(tmp_path, capsys):
    fab.dyce(tmp_path)
    path = tmp_path / "annotations" / "train.txt"
    path.write_text(path.read_text().replace("coffee table", "walls"))
    json_path = tmp_path / "stats.json"
    assert main(["stats", "dyce", str(tmp_path), "--json", str(json_path)]) == 0
    removed = {
        item["rule"]: item["num_removed"] for item in json.loads(json_path.read_text())["removed"]
    }
    assert removed == {"exclude_categories": 1, "min_visible_share": 0, "max_image_share": 0}
    assert "removed by min_visible_share (value 0.1): 0" in capsys.readouterr().out
    assert main(["stats", "dyce", str(tmp_path), "--raw", "--json", str(json_path)]) == 0
    content = json.loads(json_path.read_text())
    assert content["removed"] == []
    assert content["num_instances"] == 2


def test_convert_writes_amodal_coco_that_is_sound(tmp_path, capsys):
    fab.kins_2019(tmp_path / "kins")
    output = tmp_path / "converted" / "annotations.json"
    assert main(["convert", "kins", str(tmp_path / "kins"), "--output", str(output)]) == 0
    assert "wrote 1 image, 2 instances" in capsys.readouterr().out
    assert main(["check", "amodal_coco", str(output.parent)]) == 0
    (image,) = open_dataset("amodal_coco", output.parent)
    assert [instance.category for instance in image.instances] == ["car", "pedestrian"]


def test_show_draws_image_visible_amodal_and_hidden_side_by_side(tmp_path):
    fab.cocoa(tmp_path)
    output = tmp_path / "sheet.png"
    arguments = ["show", "cocoa", str(tmp_path), "--num", "5", "--output", str(output)]
    assert main(arguments) == 0
    sheet = cv2.imread(str(output))
    # Two instances, four tiles of 200 pixels each, captions of 22.
    assert sheet.shape == (2 * 222, 800, 3)
    tiles = {n: sheet[22:222, 200 * n : 200 * n + 200].astype(int) for n in range(4)}
    # The grey photograph has no colour; the masks are painted green, blue and red.
    assert (tiles[0].max(axis=2) == tiles[0].min(axis=2)).all()
    assert ((tiles[1][..., 1] - tiles[1][..., 2]) > 60).any()
    assert ((tiles[2][..., 0] - tiles[2][..., 2]) > 60).any()
    rows = [sheet[:, 600:].astype(int)[22:222], sheet[:, 600:].astype(int)[244:444]]
    reds = [int(((row[..., 2] - row[..., 0]) > 60).sum()) for row in rows]
    # One of the two hides nothing.
    assert sorted(red > 0 for red in reds) == [False, True]


def test_problems_are_told_in_a_sentence(tmp_path, capsys):
    assert main(["stats", "kins", str(tmp_path)]) == 1
    assert "kins must have one of" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["stats", "unknown", str(tmp_path)])


def test_a_modal_set_cannot_be_converted(tmp_path, capsys):
    fab.lvis(tmp_path)
    output = tmp_path / "out" / "annotations.json"
    assert main(["convert", "lvis", str(tmp_path), "--output", str(output)]) == 1
    assert "sets of visible masks alone cannot be converted" in capsys.readouterr().err
    assert not output.exists()


def test_a_place_that_cannot_be_written_is_told_in_a_sentence(tmp_path, capsys):
    fab.kins_2019(tmp_path)
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "annotations.json"
    assert main(["convert", "kins", str(tmp_path), "--output", str(output)]) == 1
    assert "--output must lie in a folder, but" in capsys.readouterr().err


def test_convert_and_show_write_what_they_did_as_json(tmp_path):
    fab.cocoa(tmp_path)
    report, output = tmp_path / "report.json", tmp_path / "out.json"
    run = ["cocoa", str(tmp_path), "--json", str(report), "--output"]
    assert main(["convert", *run, str(output)]) == 0
    content = json.loads(report.read_text())
    written = json.loads(output.read_text())
    assert content["num_images"] == len(written["images"]) > 0
    assert content["num_instances"] == len(written["annotations"]) > 0
    assert {"dataset", "split", "removed", "defects"} < set(content)
    assert main(["show", *run, str(tmp_path / "sheet.png"), "--num", "2"]) == 0
    content = json.loads(report.read_text())
    assert (content["contact_sheet"], content["num"]) == (str(tmp_path / "sheet.png"), 2)


def test_every_command_has_help_and_says_how_many_cores_it_takes(capsys):
    for command in ("check", "stats", "convert", "show"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "--workers WORKERS processes to work in; default: all cores" in " ".join(
            capsys.readouterr().out.split()
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "--output", "sheet"], "must end in .png or .jpg or .jpeg, got 'sheet'"),
        (["stats", "--plot", "plot.abc"], "or .pdf or .svg, got 'plot.abc'"),
    ],
)
def test_an_unsuitable_output_is_told_in_a_sentence(
    tmp_path, capsys, monkeypatch, arguments, message
):
    fab.cocoa(tmp_path)
    monkeypatch.chdir(tmp_path)
    command, *options = arguments
    with pytest.raises(SystemExit):
        main([command, "cocoa", str(tmp_path), *options])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "--num", "0", "--output", "a.png"],
        ["show", "--seed", "-1", "--output", "a.png"],
        ["check", "--workers", "0"],
        ["check", "--decode", "-2"],
    ],
    ids=" ".join,
)
def test_numbers_that_mean_nothing_are_refused(tmp_path, capsys, arguments):
    command, *options = arguments
    with pytest.raises(SystemExit):
        main([command, "cocoa", str(tmp_path), *options])
    assert "must be a whole number of at least" in capsys.readouterr().err
