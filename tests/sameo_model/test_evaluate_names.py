"""Perfect results in every way of naming images and classes, and results that contradict."""

import json

import pytest

from sameo_model import evaluate, predict
from sameo_model.data.types import AmodalImage
from tests.bundles import make_tiny_bundle
from tests.sameo_model.evaluation.scenes import filled, make_image, make_instance, write_set

HW = (64, 64)
# The numbers follow neither the names nor their order, as those of real sets.
IMAGES = {"cam1/1.png": 12, "cam1/2.png": 30, "cam2/1.png": 7}
CLASSES = {"mug": 5, "box": 3}


@pytest.fixture
def data(tmp_path):
    """Three images in two folders, with a mug and a box at places of their own."""
    images = []
    for number, (name, image_id) in enumerate(IMAGES.items()):
        path = tmp_path / "images" / name
        instances = [
            make_instance(10 * number + place, _mask(number, place), _mask(number, place), name, n)
            for place, (name, n) in enumerate(CLASSES.items(), start=1)
        ]
        drawn = make_image(tmp_path, image_id, instances, HW)
        path.parent.mkdir(exist_ok=True)
        drawn.path.rename(path)
        images.append(AmodalImage(image_id, path, HW, drawn.instances, drawn.dataset))
    write_set(tmp_path, images)
    return tmp_path


def _mask(number, place):
    left = 4 + 10 * number
    return filled(HW, (left, 30 * place - 26, left + 12 + number, 30 * place - 6))


def perfect(**fields):
    """Return the true masks as results; each field is made from name, id, class and class id."""
    records = []
    for number, (name, image_id) in enumerate(IMAGES.items()):
        for place, (label, category_id) in enumerate(CLASSES.items(), start=1):
            rle = make_instance(1, _mask(number, place), _mask(number, place)).amodal_rle
            made = {key: make(name, image_id, label, category_id) for key, make in fields.items()}
            mask = {"size": rle["size"], "counts": rle["counts"].decode()}
            records.append({"score": 0.5 + number / 10, "segmentation": mask, **made})
    return records


def score(folder, detections, *more):
    (folder / "r.json").write_text(json.dumps(detections))
    output = folder / "out.json"
    arguments = [
        "detections",
        *("--annotations", folder / "annotations.json", "--images", folder / "images"),
        *("--detections", folder / "r.json", "--model", "none", "--replicates", "0"),
        *("--boxes", "amodal", "--json", output, *more),
    ]
    output.unlink(missing_ok=True)
    status = evaluate.main([str(argument) for argument in arguments])
    return json.loads(output.read_text()) if status == 0 else None


WRONG_IDS = {12: 30, 30: 7, 7: 12}
IMAGE_FIELDS = {
    "number": {"image_id": lambda name, i, *_: i},
    "number as text": {"image_id": lambda name, i, *_: str(i)},
    "file name": {"file_name": lambda name, *_: name},
    "file name as image_id": {"image_id": lambda name, *_: name},
    "backslashes": {"file_name": lambda name, *_: name.replace("/", "\\")},
    "dot before": {"file_name": lambda name, *_: f"./{name}"},
    "stem": {"image_id": lambda name, *_: name.removesuffix(".png")},
    "folders of another machine": {"file_name": lambda name, *_: f"data/val2017/{name}"},
    "Windows path": {"file_name": lambda name, *_: "D:\\data\\" + name.replace("/", "\\")},
    "another suffix": {"file_name": lambda name, *_: name.replace(".png", ".jpg")},
    "name and number": {"file_name": lambda name, *_: name, "image_id": lambda name, i, *_: i},
    "name and invented number": {
        "file_name": lambda name, *_: name,
        "image_id": lambda name, i, *_: WRONG_IDS[i],
    },
    "short name with the number": {
        "file_name": lambda name, *_: name.split("/")[1],
        "image_id": lambda name, i, *_: i,
    },
}
CLASS_FIELDS = {
    "number": {"category_id": lambda *values: values[3]},
    "name": {"class": lambda *values: values[2]},
    "name as category_id": {"category_id": lambda *values: values[2]},
    "number as text": {"class": lambda *values: str(values[3])},
    "name and invented number": {
        "class": lambda *values: values[2],
        "category_id": lambda *values: {5: 3, 3: 5}[values[3]],
    },
}


@pytest.mark.parametrize("way", IMAGE_FIELDS)
def test_perfect_results_score_100_however_images_are_called(data, way):
    fields = IMAGE_FIELDS[way] | CLASS_FIELDS["number"]
    assert score(data, perfect(**fields))["ap"] == pytest.approx(1)
    assert score(data, perfect(**fields), "--class-specific")["ap"] == pytest.approx(1)


@pytest.mark.parametrize("way", CLASS_FIELDS)
def test_perfect_results_score_100_however_classes_are_called(data, way):
    fields = IMAGE_FIELDS["file name"] | CLASS_FIELDS[way]
    result = score(data, perfect(**fields), "--class-specific")
    assert result["ap"] == pytest.approx(1)


def test_overruled_numbers_are_told(data):
    fields = IMAGE_FIELDS["name and invented number"] | CLASS_FIELDS["name and invented number"]
    notes = score(data, perfect(**fields), "--class-specific")["settings"]["notes"]
    assert any(
        "6 detections name another image than their image_id has: the name counts (first: "
        "cam1/1.png is image 12, not 30)" in note
        for note in notes
    )
    assert any("6 detections name another class than their category_id" in note for note in notes)


def test_numbers_of_file_names_are_taken_as_such(tmp_path):
    # Ultralytics takes the number in the file's name for the id.
    images = [
        make_image(tmp_path, n, [make_instance(n, _mask(0, 1), _mask(0, 1))], HW) for n in (1,)
    ]
    images[0].path.rename(images[0].path.with_name("000139.png"))
    path = images[0].path.with_name("000139.png")
    write_set(tmp_path, [AmodalImage(1, path, HW, images[0].instances, "amodal_coco")])
    record = perfect(image_id=lambda *_: 139)[0]
    result = score(tmp_path, [record])
    assert result["ap"] == pytest.approx(1)
    assert (
        "image_id is taken for the number in the images' file names"
        in (result["settings"]["notes"])
    )


@pytest.mark.parametrize(
    ("records", "more", "message"),
    [
        pytest.param(
            perfect(file_name=lambda name, *_: name.split("/")[1]),
            (),
            "'1.png' must mean one image, but 2 fit",
            id="short name of two images",
        ),
        pytest.param(
            perfect(file_name=lambda name, *_: f"cam3/{name.split('/')[1]}"),
            (),
            "no image in common (detections: cam3/1.png",
            id="other folders",
        ),
        pytest.param(
            perfect(image_id=lambda name, i, *_: i, **{"class": lambda *_: "cup"}),
            ("--class-specific",),
            "class 'cup' of",
            id="unknown class",
        ),
        pytest.param(
            {"cam1/1.png": [{"box": [1, 2, 3]}]},
            (),
            "must be four numbers each",
            id="short box",
        ),
    ],
)
def test_names_that_contradict_are_errors(data, capsys, records, more, message):
    assert score(data, records, *more) is None
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_an_object_that_is_there_twice_in_the_file_is_refused(data, capsys):
    record = perfect(file_name=lambda name, *_: name)[0]
    text = json.dumps([record]).replace('"score"', '"score": 0.1, "score"')
    (data / "r.json").write_text(text)
    arguments = ["--annotations", data / "annotations.json", "--images", data / "images"]
    arguments += ["--detections", data / "r.json", "--model", "none"]
    assert evaluate.main(["detections", *map(str, arguments)]) == 2
    assert "'score' must occur once" in capsys.readouterr().err


def test_two_classes_of_one_name_need_their_number(data, capsys):
    path = data / "annotations.json"
    content = json.loads(path.read_text())
    for category in content["categories"]:
        category["name"] = "thing"
    path.write_text(json.dumps(content))
    by_name = perfect(file_name=lambda name, *_: name, **{"class": lambda *_: "thing"})
    assert score(data, by_name, "--class-specific") is None
    assert "class 'thing'" in capsys.readouterr().err
    numbers = CLASS_FIELDS["number"] | {"class": lambda *_: "thing"}
    records = perfect(file_name=lambda name, *_: name, **numbers)
    assert score(data, records, "--class-specific")["ap"] == pytest.approx(1)


def test_predictions_of_predict_score_alike_whatever_boxes_it_was_given(data, tmp_path):
    model = make_tiny_bundle(tmp_path / "tiny")
    content = json.loads((data / "annotations.json").read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    classes = {category["id"]: category["name"] for category in content["categories"]}
    records = content["annotations"]
    mapping = {name: [] for name in names.values()}
    results = []
    for record in records:
        x, y, width, height = record["visible_bbox"]
        name, label = names[record["image_id"]], classes[record["category_id"]]
        mapping[name].append({"box": [x, y, x + width, y + height], "class": label, "score": 0.5})
        results.append(
            {"file_name": name, "class": label, "bbox": [x, y, width, height], "score": 50}
        )
    forms = {"coco": content, "mapping": mapping, "results": results}
    scores = {}
    for form, boxes in forms.items():
        (data / "boxes.json").write_text(json.dumps(boxes))
        for more in ((), ("--class-specific",)):
            found = []
            for camera in ("cam1", "cam2"):
                output = data / f"{form}_{camera}"
                arguments = ["--image", data / "images" / camera, "--boxes", data / "boxes.json"]
                arguments += ["--output", output, "--model", model, "--backend", "onnxruntime"]
                assert predict.main([str(argument) for argument in arguments]) == 0
                found += json.loads((output / "predictions.json").read_text())
            assert len(found) == 6
            scores[form, bool(more)] = score(data, found, *more)["ap"]
    assert scores["coco", False] > 0.5
    assert len({round(value, 6) for (_, is_specific), value in scores.items() if is_specific}) == 1
    assert (
        len({round(value, 6) for (_, is_specific), value in scores.items() if not is_specific}) == 1
    )
