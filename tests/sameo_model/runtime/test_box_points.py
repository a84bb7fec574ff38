"""Clicks in the files and texts that name boxes."""

import pytest

from sameo_model.runtime.box_parsing import parse_points, read_boxes
from sameo_model.runtime.box_source import BoxPrompt, prompts_to_clicks

BOXES = [BoxPrompt((0, 0, 9, 9)), BoxPrompt((5, 5, 20, 20)), BoxPrompt((1, 1, 4, 4))]


def test_points_stand_beside_boxes_in_json():
    source = read_boxes(
        '[{"box": [0, 0, 9, 9], "points": [[3, 4], [5, 6.5]]}, {"box": [1, 1, 4, 4]}]'
    )
    assert [prompt.points_xy for prompt in source.common] == [((3, 4), (5, 6.5)), ()]
    clicks = prompts_to_clicks(source.common)
    assert clicks.points_xy[0, :2].tolist() == [[3, 4], [5, 6.5]]
    assert clicks.labels.tolist() == [[1, 1, -1, -1], [-1, -1, -1, -1]]


def test_points_of_a_text_go_to_the_boxes_in_their_order():
    prompts = parse_points("3,4 5,6;;2,2", BOXES)
    assert [prompt.points_xy for prompt in prompts] == [((3, 4), (5, 6)), (), ((2, 2),)]
    assert [prompt.box_xyxy for prompt in prompts] == [prompt.box_xyxy for prompt in BOXES]
    assert prompts_to_clicks(BOXES) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,1", r"a group for each of the 3 boxes, separated by ;, got 1 in '1,1'"),
        ("1,1;2;3,3", r"point '2' must be two numbers x,y"),
        ("1,1;a,b;", r"point 'a,b' must be two numbers x,y"),
    ],
)
def test_texts_that_do_not_fit_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_points(text, BOXES)


@pytest.mark.parametrize("points", ["[1, 2]", '"x"', "[[1, 2], [1, 2], [1, 2], [1, 2], [1, 2]]"])
def test_points_in_json_that_mean_nothing_are_refused(points):
    with pytest.raises(ValueError, match="'points' in entry 0 of the list"):
        read_boxes(f'[{{"box": [0, 0, 9, 9], "points": {points}}}]')


def test_more_points_than_a_prompt_holds_are_refused():
    many = BoxPrompt((0, 0, 9, 9), points_xy=((1, 1),) * 5)
    with pytest.raises(ValueError, match="at most 4 points, box 0 has 5"):
        prompts_to_clicks([many])
