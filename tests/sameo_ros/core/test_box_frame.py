import numpy as np
import pytest

from sameo_ros.core.box_frame import BoxFrame, FrameFinder, map_boxes, parse_box_frame

HW = (480, 640)


@pytest.mark.parametrize("text", ["auto", "image"])
def test_the_image_itself_needs_no_mapping(text):
    assert parse_box_frame(text) is None


@pytest.mark.parametrize("text", ["letterbox:640x512", "corner:300x300", "stretch:1280x720"])
def test_a_frame_reads_back_as_it_is_written(text):
    frame = parse_box_frame(text)
    assert str(frame) == text
    width, height = text.split(":")[1].split("x")
    assert frame.network_hw == (int(height), int(width))


@pytest.mark.parametrize(
    "text", ["", "letterbox", "letterbox:640", "crop:640x640", "stretch:0x640", "stretch:640x00"]
)
def test_a_frame_that_cannot_be_is_refused(text):
    with pytest.raises(ValueError, match=r"detections_frame must be auto, image, or one of"):
        parse_box_frame(text)


@pytest.mark.parametrize(
    ("text", "box"),
    [
        # 640x480 into 640x640: scale 1, bars of 80 above and below.
        ("letterbox:640x640", (10, 100, 60, 300)),
        # 640x480 into 320x320: scale 0.5, bars of 40: (20, 20, 120, 220) in pixels of the image.
        ("letterbox:320x320", (5, 50, 30, 150)),
        # 640x480 into 320x320 at the upper left: scale 0.5.
        ("corner:320x320", (5, 10, 30, 110)),
        # 640x480 into 640x960: no scale in x, 2 in y.
        ("stretch:640x960", (10, 40, 60, 440)),
        # A bar at the sides: 640x480 into 1280x480, 320 to the left.
        ("letterbox:1280x480", (330, 20, 380, 220)),
    ],
)
def test_a_box_comes_back_to_the_pixels_of_the_image(text, box):
    mapped = map_boxes(np.array([box], np.float32), parse_box_frame(text), HW)
    assert mapped.dtype == np.float32
    np.testing.assert_allclose(mapped, [(10, 20, 60, 220)], atol=1e-4)


def test_boxes_that_are_not_finite_stay_so():
    boxes = np.array([[np.nan, 0, 5, 5], [0, 0, np.inf, 5]], np.float32)
    mapped = map_boxes(boxes, BoxFrame("letterbox", (640, 640)), HW)
    assert np.isnan(mapped[0, 0])
    assert np.isinf(mapped[1, 2])
    assert map_boxes(np.zeros((0, 4), np.float32), BoxFrame("stretch", (9, 9)), HW).shape == (0, 4)


def boxes_of_the_image(seed, num):
    """Boxes all over a 640x480 image, up to its edges."""
    generator = np.random.default_rng(seed)
    sizes = generator.uniform(20, 80, (num, 2))
    corners = generator.uniform((0, 0), np.array([640, 480]) - sizes)
    return np.hstack([corners, corners + sizes]).astype(np.float32)


def feed(finder, boxes, image_hw=HW):
    for rows in np.array_split(boxes, max(len(boxes) // 4, 1)):
        finder.add(rows, image_hw)


def test_boxes_of_the_image_are_left_alone():
    finder = FrameFinder()
    boxes = boxes_of_the_image(0, 400)
    boxes[::7, 2:] += 30  # some reach beyond the image, as jittery detectors do
    feed(finder, boxes)
    assert finder.frame is None
    assert finder.warning == ""


def test_letterboxed_boxes_are_recognised_and_mapped_back():
    boxes = boxes_of_the_image(1, 100)
    sent = boxes + np.float32([0, 80, 0, 80])
    finder = FrameFinder()
    feed(finder, sent)
    assert finder.frame == BoxFrame("letterbox", (640, 640))
    assert "set detections_frame to letterbox:640x640 if it is right" in finder.warning
    np.testing.assert_allclose(map_boxes(sent, finder.frame, HW), boxes, atol=1e-3)


def test_stretched_boxes_are_recognised_and_mapped_back():
    boxes = boxes_of_the_image(2, 100)
    sent = boxes * np.float32([1, 640 / 480, 1, 640 / 480])
    finder = FrameFinder()
    feed(finder, sent)
    assert finder.frame == BoxFrame("stretch", (640, 640))
    np.testing.assert_allclose(map_boxes(sent, finder.frame, HW), boxes, atol=1e-3)


def test_what_fits_no_known_frame_is_warned_of_and_left_alone():
    finder = FrameFinder()
    feed(finder, boxes_of_the_image(3, 100) + np.float32([0, 400, 0, 400]))  # below 640
    assert finder.frame is None
    assert "boxes lie outside the 640x480 image" in finder.warning
    assert "detections_frame" in finder.warning


def test_a_few_boxes_decide_nothing_but_are_warned_of():
    finder = FrameFinder()
    box = np.float32([[100, 500, 160, 540]])
    for _ in range(2):
        finder.add(box, HW)
    assert finder.warning == ""
    finder.add(box, HW)
    assert finder.frame is None
    assert "outside" in finder.warning


def test_few_boxes_wholly_outside_of_many_move_none_but_are_warned_of():
    finder = FrameFinder()
    feed(finder, boxes_of_the_image(6, 100))
    feed(finder, np.float32([[100, 490, 200, 560]] * 3))
    assert finder.frame is None
    assert "outside" in finder.warning


def test_few_boxes_of_many_may_leave_the_image():
    finder = FrameFinder()
    feed(finder, boxes_of_the_image(6, 100))
    feed(finder, np.float32([[100, 460, 200, 560]] * 3))  # as a tracker foresees them
    assert (finder.frame, finder.warning) == (None, "")


def test_boxes_that_a_tracker_foresees_beyond_one_edge_move_none_but_are_warned_of():
    finder = FrameFinder()
    for _ in range(100):
        # Below the bar of letterbox:640x640, which ends at 80; the last centre is at 500 of 480.
        boxes = [(300, 300, 400, 380), (100, 350, 180, 440), (200, 470, 280, 530)]
        finder.add(np.float32(boxes), HW)
    assert finder.frame is None
    assert "boxes lie outside the 640x480 image" in finder.warning


def test_a_recognised_frame_stays_while_the_boxes_fit_it():
    finder = FrameFinder()
    feed(finder, boxes_of_the_image(1, 100) + np.float32([0, 80, 0, 80]))
    feed(finder, np.float32([[100, 100, 200, 200]] * 2000))  # inside the image as well
    assert finder.frame == BoxFrame("letterbox", (640, 640))


def test_boxes_that_fill_a_networks_frame_in_a_large_image_are_warned_of():
    generator = np.random.default_rng(5)
    corners = generator.uniform((0, 140), (560, 440), (300, 2))
    boxes = np.hstack([corners, corners + 60]).astype(np.float32)
    boxes[:3] = (0, 200, 60, 260), (580, 200, 640, 260), (90, 440, 150, 500)
    finder = FrameFinder()
    feed(finder, boxes, (720, 1280))
    assert finder.frame is None
    assert "all boxes lie in 640x36" in finder.warning
    # In the image itself objects lie anywhere, be it in one corner of it.
    finder = FrameFinder()
    feed(finder, boxes[3:] + np.float32([7, 5, 7, 5]), (720, 1280))
    assert finder.warning == ""


def test_boxes_in_fractions_of_the_image_are_warned_of():
    finder = FrameFinder()
    feed(finder, boxes_of_the_image(7, 20) / np.float32([640, 480, 640, 480]))
    assert "fractions" in finder.warning
    feed(finder, boxes_of_the_image(8, 1))
    assert finder.warning == ""


def test_broken_boxes_count_for_nothing():
    finder = FrameFinder()
    broken = np.float32([[np.nan, 0, 5, 5], [9, 600, 3, 620], [0, 0, np.inf, 700]])
    feed(finder, np.tile(broken, (20, 1)))
    finder.add(np.zeros((0, 4), np.float32), HW)
    assert finder.frame is None
    assert finder.warning == ""


def test_images_of_another_size_begin_anew():
    finder = FrameFinder()
    feed(finder, boxes_of_the_image(1, 100) + np.float32([0, 80, 0, 80]))
    finder.add(boxes_of_the_image(4, 4), (720, 1280))
    assert finder.frame is None
