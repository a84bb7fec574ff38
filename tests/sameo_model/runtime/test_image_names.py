import unicodedata

import pytest

from sameo_model.runtime.image_names import (
    AmbiguousNameError,
    ImageNames,
    match_records,
    split_name,
)

SET = ["/set/images/1.png", "/set/images/cam1/1.png", "/set/images/cam2/1.png", "/set/images/7.png"]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a/b.png", ("a", "b.png")),
        ("a\\b.png", ("a", "b.png")),
        ("C:\\data\\a\\b.png", ("C:", "data", "a", "b.png")),
        ("./x/../a//b.png", ("a", "b.png")),
        ("/a/b.png", ("a", "b.png")),
        ("", (".",)),
    ],
)
def test_a_path_of_any_system_is_split(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize(
    ("name", "index"),
    [
        pytest.param("7.png", 3, id="file name"),
        pytest.param("7", 3, id="stem"),
        pytest.param("cam1/1.png", 1, id="folder"),
        pytest.param("cam2\\1.png", 2, id="backslash"),
        pytest.param("cam2/1", 2, id="stem in a folder"),
        # The set has an image of that very name.
        pytest.param("1.png", 0, id="own name before short name"),
        pytest.param("images/cam2/1.png", 2, id="folder of the set"),
        pytest.param("other/machine/cam2/1.png", 2, id="folders of another machine"),
        pytest.param("C:\\set\\cam1\\1.png", 1, id="Windows path"),
        pytest.param("cam3/1.png", 0, id="a folder that the set does not know"),
        pytest.param("8.png", None, id="unknown"),
        pytest.param("7.jpg", None, id="another suffix"),
    ],
)
def test_a_set_is_searched_by_the_longest_end_of_the_path(name, index):
    match = ImageNames(SET, folder="/set/images").find(name)
    assert (None if match is None else match.index) == index


def test_a_name_in_a_foreign_folder_is_doubtful_and_says_so():
    finder = ImageNames(SET, folder="/set/images")
    assert finder.find("cam3/1.png").doubt == "it lies in images here"
    assert finder.find("images/1.png").doubt == ""
    assert finder.find("1.png").doubt == ""


def test_another_suffix_fits_on_request_and_says_so():
    match = ImageNames(SET, folder="/set/images").find("7.jpg", any_suffix=True)
    assert (match.index, match.doubt) == (3, "it has another suffix")


def test_a_name_that_fits_two_images_is_an_error():
    finder = ImageNames(SET[1:3], folder="/set/images")
    with pytest.raises(AmbiguousNameError, match=r"'1.png' must mean one image, but 2 fit: .*cam1"):
        finder.find("1.png")
    with pytest.raises(AmbiguousNameError, match="2 fit"):
        ImageNames(["a.png", "a.jpg"]).find("a")


def test_accents_are_compared_as_they_look():
    composed, taken_apart = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    assert composed != taken_apart
    assert ImageNames([composed]).find(taken_apart).index == 0


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("cam1/1.png", True),
        ("1.png", True),
        ("data/cam1/1.png", True),
        ("cam2/1.png", False),
        ("other/cam1/1.png", False),
        # An absolute path is one of another machine, where the folders above have other names.
        ("D:\\other\\cam1\\1.png", True),
        ("/nowhere/cam1/1.png", True),
        ("/nowhere/cam2/1.png", False),
        ("/1.png", True),
    ],
)
def test_a_whole_path_must_not_contradict_a_name(name, is_found):
    assert (ImageNames(["/data/cam1/1.png"]).find(name) is not None) == is_found


def test_an_absolute_path_of_a_file_that_exists_is_that_file(tmp_path):
    for run in ("run1", "run2"):
        (tmp_path / run / "cam1").mkdir(parents=True)
        (tmp_path / run / "cam1" / "1.png").touch()
    first, second = (str(tmp_path / run / "cam1" / "1.png") for run in ("run1", "run2"))
    assert ImageNames([second]).find(first) is None
    assert ImageNames([first]).find(first).doubt == ""


def test_an_absolute_path_of_another_machine_is_doubtful():
    match = ImageNames(["/data/cam1/1.png"]).find("/nowhere/cam1/1.png")
    assert match.doubt == "only cam1/1.png of the path agrees"


def test_a_relative_path_below_a_folder_is_known_by_what_is_inside():
    finder = ImageNames(["images/a.png"], folder="images")
    assert finder.find("val/a.png").doubt == "it lies in images here"
    assert finder.find("images/a.png").doubt == ""


def test_a_linked_folder_is_known_by_both_names(tmp_path):
    (tmp_path / "val2014").mkdir()
    (tmp_path / "images").symlink_to(tmp_path / "val2014")
    finder = ImageNames([tmp_path / "images" / "1.png"])
    assert finder.find("images/1.png") is not None
    assert finder.find("val2014/1.png") is not None
    assert finder.find("train2014/1.png") is None


def test_records_and_images_are_told_apart():
    images = ["/data/cam1/1.png", "/data/cam1/2.png"]
    found = match_records(images, ["cam1/1.png", "cam2/1.png", "3.png"])
    assert found.names == ["cam1/1.png", None]
    assert found.absent == ["cam2/1.png", "3.png"]
    assert found.doubts == []


@pytest.mark.parametrize("names", [["1.png", "cam1/1.png"], ["cam1/1.png", "1.png"]])
def test_the_longest_record_has_the_image(names):
    found = match_records(["/data/cam1/1.png"], names)
    assert (found.names, found.absent) == (["cam1/1.png"], ["1.png"])


def test_two_records_of_one_image_are_an_error():
    with pytest.raises(AmbiguousNameError, match=r"'cam1/1.png' and 'cam1\\1.png' both name it"):
        match_records(["/data/cam1/1.png"], ["cam1/1.png", "cam1\\1.png"])


def test_doubtful_records_are_told():
    found = match_records(["/data/cam1/1.png"], ["/nowhere/cam1/1.png"])
    assert found.doubts == [
        "'/nowhere/cam1/1.png' is matched with /data/cam1/1.png, although only cam1/1.png of the "
        "path agrees"
    ]
