import pytest

from sameo_model.synthesis.scenes_command import parse_shares
from sameo_model.synthesize import main


def test_shares_are_read():
    assert parse_shares("procedural=0.7,robosuite=0.3", "--families") == {
        "procedural": 0.7,
        "robosuite": 0.3,
    }
    assert parse_shares("scanned", "--families") == {"scanned": 1.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--families", "cats"], "family must be one of procedural, robosuite, scanned"),
        (["--families", "procedural,validation"], "must be rendered alone"),
        (["--families", "procedural=much"], "must look like a=0.7,b=0.3"),
        (["--arrangements", "table=nan"], "--arrangements must look like a=0.7,b=0.3, got 'table"),
        (["--arrangements", "table=inf"], "--arrangements must look like a=0.7,b=0.3, got 'table"),
        (["--families", "procedural,procedural"], "name each once"),
        (["--families", "procedural=-1"], "must be positive"),
        (["--meshes", "/nowhere"], "the folder of meshes must exist, got /nowhere"),
        (["--meshes", "/a", "--meshes", "/b"], "must name one folder of your own objects"),
        (["--families", "meshes"], "family 'meshes' and --meshes DIR go together"),
        (["--mesh-size", "0.4", "0.1"], "must be 0 < MIN < MAX"),
        (["--arrangements", "heap"], "arrangements must be of table, floor, bin, flat"),
        (["--distractors", "1"], "share of distractors must be in"),
        (["--families", "robosuite", "--meshes", "robosuite=/nowhere"], "must be a folder"),
        (["--views", "0"], "views must be at least 1"),
        (["--image-size", "wide"], "must look like 640x480"),
        (["--image-size", "8x8"], "64 to 8192"),
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


@pytest.mark.parametrize("option", ["--scenes", "--workers"])
def test_a_number_out_of_range_is_refused_with_its_option(option, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["scenes", "--output", str(tmp_path / "set"), option, "0"])
    error = capsys.readouterr().err
    assert f"argument {option}: must be a whole number of at least 1, got '0'" in error


def test_help_teaches(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["scenes", "--help"])
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "contact_sheet.png" in text
