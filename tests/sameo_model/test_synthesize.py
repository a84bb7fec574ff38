import pytest

from sameo_model.synthesize import main, parse_families


def test_shares_of_families_are_read():
    assert parse_families("procedural=0.7,robosuite=0.3") == {"procedural": 0.7, "robosuite": 0.3}
    assert parse_families("scanned") == {"scanned": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--families", "cats"], "family must be one of procedural, robosuite, scanned"),
        (["--families", "procedural,validation"], "must be rendered alone"),
        (["--families", "procedural=much"], "must look like a=0.7,b=0.3"),
        (["--families", "procedural,procedural"], "name each family once"),
        (["--families", "procedural=-1"], "must be positive"),
        (["--meshes", "robosuite"], "must look like FAMILY=FOLDER"),
        (["--families", "robosuite", "--meshes", "robosuite=/nowhere"], "must be a folder"),
        (["--scenes", "0"], "must be at least 1"),
        (["--views", "0"], "views must be at least 1"),
        (["--image-size", "wide"], "must look like 640x480"),
        (["--image-size", "8x8"], "64 to 4096"),
    ],
)
def test_a_wrong_argument_ends_with_one_sentence_and_leaves_nothing(
    arguments, message, tmp_path, capsys
):
    status = main(["scenes", "--output", str(tmp_path / "set"), *arguments])
    error = capsys.readouterr().err
    assert status == 1
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "set").exists()


def test_help_teaches(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["scenes", "--help"])
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "contact_sheet.png" in text
