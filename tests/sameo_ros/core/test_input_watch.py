import pytest

from sameo_ros.core.input_watch import InputWatch


@pytest.mark.parametrize(
    ("messages", "number"),
    [
        (["image 1", "boxes 1", "image 2", "boxes 2"], 0),
        (["image 1", "boxes 1", "boxes 1", "image 2", "boxes 1"], 2),
        (["image 1", "image 2", "boxes 1", "boxes 2", "image 1", "boxes 1"], 0),
        (["image 0", "boxes 0", "image 0", "boxes 0"], 0),
        (["image 1", "image 2", "boxes 2", "image 1", "boxes 2"], 0),
        (["boxes 1", "boxes 1"], 0),
    ],
    ids=[
        *("each once", "three times", "a bag in a loop", "a stamp that stands still"),
        *("an image lost in the second loop", "no image"),
    ],
)
def test_boxes_repeat_those_that_answered_the_same_image(messages, number):
    watch = InputWatch(0.0)
    for now_s, message in enumerate(messages, start=1):
        kind, stamp_ns = message.split()
        if kind == "image":
            watch.note_image(int(stamp_ns), now_s, 0.0)
        else:
            watch.note_boxes(int(stamp_ns), now_s)
    assert watch.repeats.number == number


def test_images_whose_stamps_go_back_and_those_that_stand_still_are_counted():
    watch = InputWatch(0.0)
    for now_s, stamp_ns in enumerate((5, 4, 4, 4, 3, 3)):
        watch.note_image(stamp_ns, float(now_s), 0.0)
    assert (watch.jumps.number, watch.num_same) == (2, 2)
