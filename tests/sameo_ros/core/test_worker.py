import logging
import os
import re
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from sameo_model.runtime import Predictor, load_predictor
from sameo_ros.core import model_loading
from sameo_ros.core.camera import (
    Camera,
    CameraRecord,
    errors_reported,
    failures_counted,
    pixels_of,
)
from sameo_ros.core.frame_cache import Frame
from sameo_ros.core.model_loading import ModelState
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.scene_depth import SceneDepth
from sameo_ros.core.settings import SameoParameters, SettingsHolder
from sameo_ros.core.statistics import Statistics
from sameo_ros.core.worker import Request, Worker
from sameo_ros.messages.conversions import image_to_rgb
from sameo_ros.messages.detections import detections_to_boxes
from tests.sameo_ros.stand_ins import box_detection, detections, hypothesis, image

WAIT_S = 10.0
BOX = box_detection(16, 16, 48, 48)


class Bench:
    """A worker whose answers, complaints and gates the test holds."""

    def __init__(self, model, names=("",), **parameters):
        self.answers = []
        self.complaints = []
        self.fail_delivery = self.draws = False
        self.gate = threading.Event()  # the reading of images waits for it
        self.gate.set()
        self.reading = threading.Event()
        self.num_readings = 0
        parameters = {"encode_ahead": "off", "backend": "onnxruntime", **parameters}
        self.settings = SettingsHolder(SameoParameters(model=str(model), **parameters))
        self.worker = Worker(self.settings)
        self.cameras = [Camera(Port(self, name)) for name in names]

    @property
    def state(self):
        return self.worker.model.state

    def set(self, **values):
        """Change settings as the node does."""
        self.settings.current = self.settings.current.changed(values)
        self.worker.wake()

    def start(self):
        self.worker.start()
        self.until(lambda: self.state is not ModelState.LOADING)
        return self

    def activate(self):
        self.worker.activate(self.cameras)
        return self

    def image(self, stamp_ns, camera=0, pixels=None, **fields):
        message = image(np.zeros((64, 64, 3), np.uint8) if pixels is None else pixels, "rgb8")
        vars(message).update(fields)
        self.worker.add_image(self.cameras[camera], stamp_ns, message)

    def boxes(self, stamp_ns, camera=0, message=None):
        self.worker.add_boxes(self.cameras[camera], stamp_ns, message or detections(BOX))

    def call(self, image_message=None, camera=0, box=BOX):
        replies = []
        message = detections(box)
        frame = image_message and Frame(0, 0, time.monotonic(), image_message)
        request = Request(self.cameras[camera], frame, message, replies.append)
        self.worker.add_request(request)
        return replies

    def until(self, condition):
        deadline_s = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline_s, f"complaints: {self.complaints}"
            time.sleep(0.002)

    def count(self, key, camera=0):
        return self.cameras[camera].record.statistics[key]


class Port:
    """A camera's port that reads plain objects and delivers to the bench."""

    def __init__(self, bench, name):
        self.bench = bench
        self.record = CameraRecord(name, Statistics(), ProblemLog(bench.complaints.append, name))

    def read_image(self, message):
        self.bench.num_readings += 1
        self.bench.reading.set()
        assert self.bench.gate.wait(WAIT_S)
        return image_to_rgb(message)

    def read_detections(self, message, image_hw, settings):
        return detections_to_boxes(message)

    def read_depth(self, frame, image_hw, settings):
        return None

    def deliver(self, frame, answer, settings):
        if self.bench.fail_delivery:
            raise RuntimeError("the wire is cut")
        if self.bench.draws:
            pixels_of(self, frame)
        self.bench.answers.append((self.record.name, frame.stamp_ns, answer))


@pytest.fixture
def bench(tiny):
    made = []

    def make(*arguments, **options):
        made.append(Bench(tiny, *arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.gate.set()
        one.worker.stop()


def test_boxes_are_answered_with_masks_of_their_image(bench):
    bench = bench().start().activate()
    bench.image(10, pixels=np.full((64, 64, 3), 51, np.uint8))
    bench.boxes(10)
    bench.until(lambda: bench.answers)
    ((_, stamp_ns, answer),) = bench.answers
    assert stamp_ns == 10
    assert answer.prediction.amodal_masks[0].box_xyxy == (16, 16, 48, 48)
    assert answer.prediction.visible_masks[0].box_xyxy == (16, 16, 48, 32)
    assert answer.prediction.predicted_iou[0] == pytest.approx(0.2, abs=1e-5)  # 51 / 255
    bench.until(lambda: bench.count("masks_published") == 1)
    assert bench.count("detections_received") == 1


@pytest.mark.parametrize(("frame_id", "is_other"), [("rear", True), ("", False), ("camera", False)])
def test_boxes_of_another_frame_are_reported(bench, frame_id, is_other):
    bench = bench().start().activate()
    message = detections(BOX)
    message.header.frame_id = frame_id
    bench.image(10)
    bench.boxes(10, message=message)
    bench.until(lambda: bench.answers)
    problems = bench.cameras[0].record.problems.current(time.monotonic())
    assert ("'camera', got 'rear'" in problems.get("frame_id", "")) == is_other


def test_what_seems_wrong_with_depth_is_reported(bench, monkeypatch):
    bench = bench().start().activate()
    depth = SceneDepth(np.ones((64, 64), np.float32), None, "depth is odd")
    monkeypatch.setattr(bench.cameras[0].port, "read_depth", lambda *_: depth)
    bench.image(10)
    bench.boxes(10)
    bench.until(lambda: bench.answers)
    assert bench.cameras[0].record.problems.current(time.monotonic()) == {"depth": "depth is odd"}


def test_an_image_that_cannot_be_read_costs_its_boxes_and_no_more(bench):
    bench = bench().start().activate()
    bench.image(10, step=5)
    bench.boxes(10)
    bench.until(lambda: bench.count("dropped_unmatched") == 1)
    assert bench.count("images_rejected") == 1
    assert "step must be at least 192 bytes" in bench.complaints[0]
    bench.image(20)
    bench.boxes(20)
    bench.until(lambda: bench.answers)


def test_a_failing_delivery_is_counted_and_survived(bench):
    bench = bench().start().activate()
    bench.fail_delivery = True
    bench.image(10)
    bench.boxes(10)
    bench.until(lambda: bench.count("dropped_failed") == 1)
    assert "the wire is cut" in bench.complaints[0]
    bench.fail_delivery = False
    bench.boxes(10)
    bench.until(lambda: bench.answers)


def test_an_error_that_repeats_is_logged_once_with_its_traceback(caplog):
    record = CameraRecord("", Statistics(), ProblemLog([].append))
    for _ in range(3):
        with failures_counted(record):
            raise RuntimeError("the wire is cut")
        with errors_reported(record, "encoded"):
            raise RuntimeError("the wire is cut")
    assert record.statistics["dropped_failed"] == 3
    assert caplog.text.count("Traceback") == 1


def test_nothing_is_delivered_after_deactivation_not_even_what_was_in_hand(bench):
    bench = bench().start().activate()
    bench.gate.clear()
    for stamp_ns in (10, 20):
        bench.image(stamp_ns)
        bench.boxes(stamp_ns)
        assert bench.reading.wait(WAIT_S)
    bench.worker.deactivate()
    bench.gate.set()
    bench.until(lambda: bench.count("dropped_late") == 2)
    bench.image(30)
    bench.boxes(30)
    time.sleep(0.05)
    assert bench.answers == []
    assert bench.count("detections_received") == 2


def test_a_missing_model_is_a_state_with_a_reason_and_another_one_is_taken(bench, tiny):
    bench = bench()
    bench.set(model="no_such_model")
    bench.start()
    assert bench.state is ModelState.FAILED
    assert "no_such_model" in bench.worker.describe()
    bench.set(model=str(tiny))
    bench.until(lambda: bench.state is ModelState.READY)
    assert bench.worker.model.name == "tiny"


def test_a_model_that_cannot_be_closed_is_a_state_and_the_thread_goes_on(bench, monkeypatch):
    bench = bench().start()

    def fail():
        raise RuntimeError("device is lost")

    monkeypatch.setattr(bench.worker._segmenter, "close", fail)
    bench.set(threads=1)
    bench.until(lambda: bench.state is ModelState.FAILED)
    assert "device is lost" in bench.worker.describe()
    bench.set(threads=2)
    bench.until(lambda: bench.state is ModelState.READY)


def test_settings_of_the_model_that_change_before_the_start_leave_it_not_loaded(bench, tiny):
    bench = bench()
    bench.set(threads=1)
    assert bench.state is ModelState.NONE
    bench.start()
    assert bench.state is ModelState.READY


def test_settings_that_change_while_the_model_loads_count(bench, monkeypatch):
    bench, loading = bench(), threading.Event()

    def load(*arguments, **options):
        loading.set()
        assert bench.gate.wait(WAIT_S)
        return load_predictor(*arguments, **options)

    monkeypatch.setattr(model_loading, "load_predictor", load)
    bench.gate.clear()
    bench.worker.start()
    assert loading.wait(WAIT_S)
    bench.set(visible=False, max_wait_s=0.01)
    bench.gate.set()
    bench.until(lambda: bench.state is ModelState.READY)
    bench.activate().image(10)
    bench.boxes(10)
    bench.until(lambda: bench.answers)
    assert bench.answers[0][2].prediction.visible_masks is None
    bench.boxes(20)
    bench.until(lambda: bench.count("dropped_unmatched") == 1)


def test_another_model_is_not_ready_from_the_moment_that_it_is_named(bench, tiny):
    bench = bench().start()
    bench.settings.current = bench.settings.current.changed({"threads": 1})
    assert bench.state is ModelState.LOADING  # although the thread has not looked at it yet
    bench.worker.wake()
    bench.until(lambda: bench.state is ModelState.READY)


def test_settings_that_change_while_inactive_reach_the_frames(bench):
    bench = bench().start()
    bench.set(max_wait_s=0.01)
    bench.activate()
    bench.boxes(10)
    bench.until(lambda: bench.count("dropped_unmatched") == 1)


def test_compiled_models_go_to_the_folder_that_the_parameter_names(bench, tmp_path):
    folder = tmp_path / "compiled"
    bench = bench(backend="openvino", cache_dir=str(folder)).start()
    assert bench.state is ModelState.READY
    assert list(folder.iterdir())


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is only one core")
def test_threads_streams_and_pinning_reach_the_compiled_model(bench, tmp_path, monkeypatch):
    loaded = []

    def load(*arguments, **options):
        loaded.append(load_predictor(*arguments, **options))
        return loaded[-1]

    monkeypatch.setattr(model_loading, "load_predictor", load)
    given = {"threads": 2, "decoder_streams": 1, "pin_threads": "off"}
    bench(backend="openvino", precision="f32", cache_dir=str(tmp_path), **given).start()
    (decoder,) = loaded[0].backend._mask_decoders
    model = decoder.get_compiled_model()
    assert model.get_property("INFERENCE_NUM_THREADS") == 2
    assert model.get_property("NUM_STREAMS") == 1
    assert model.get_property("ENABLE_CPU_PINNING") is False


def test_progress_of_loading_is_part_of_the_state(bench, monkeypatch, caplog):
    bench, seen = bench(), []

    def load(*arguments, **options):
        logging.getLogger("sameo_model.backend").info("%d of 3 engines are built", 2)
        seen.append(bench.worker.describe())
        return load_predictor(*arguments, **options)

    monkeypatch.setattr(model_loading, "load_predictor", load)
    caplog.set_level(logging.INFO, "sameo_model")
    bench.start()
    assert seen[0].endswith("is loading: 2 of 3 engines are built")
    assert bench.worker.describe().endswith("is ready")


def test_waiting_boxes_come_before_encoding_ahead(bench):
    bench = bench(encode_ahead="on").start().activate()
    bench.gate.clear()
    bench.image(10)
    assert bench.reading.wait(WAIT_S)  # image 10 is being encoded ahead
    bench.image(20)
    bench.boxes(10)
    newest = bench.cameras[0].cache.latest
    was_encoded = []
    bench.answers = SimpleNamespace(append=lambda _: was_encoded.append(newest.embedding))
    bench.gate.set()
    bench.until(lambda: was_encoded)
    assert was_encoded == [None]  # image 20 had to wait for the answer
    bench.until(lambda: newest.embedding is not None)


def test_encoding_ahead_leaves_only_the_decoder_for_the_boxes(bench):
    bench = bench(encode_ahead="on").start().activate()
    bench.image(10)
    cache = bench.cameras[0].cache
    bench.until(lambda: cache.latest.embedding is not None)
    bench.reading.clear()
    bench.boxes(10)
    bench.until(lambda: bench.answers)
    assert not bench.reading.is_set()  # the image was not read again


@pytest.mark.parametrize("encode_ahead", ["on", "off"])
def test_an_image_is_read_once_until_it_is_delivered(bench, encode_ahead):
    bench = bench(encode_ahead=encode_ahead).start().activate()
    bench.draws = True
    bench.image(10)
    frame = bench.cameras[0].cache.latest
    if encode_ahead == "on":
        bench.until(lambda: frame.embedding is not None)
    bench.boxes(10)
    bench.until(lambda: bench.count("masks_published") == 1)
    assert bench.num_readings == 1
    bench.until(lambda: frame.image_rgb is None)


def test_nothing_is_encoded_ahead_where_the_encoder_does_nothing(bench, monkeypatch):
    monkeypatch.setattr(Predictor, "encodes_image", False)
    bench = bench(encode_ahead="on").start().activate()
    assert not bench.worker.model.encodes_image
    bench.image(10)
    bench.boxes(5)  # wakes the worker again: it would have encoded by the time that these expire
    bench.until(lambda: bench.count("dropped_unmatched") == 1)
    assert bench.num_readings == 0
    bench.boxes(10)
    bench.until(lambda: bench.answers)


def test_cameras_take_turns(bench):
    bench = bench(names=("left", "right")).start().activate()
    bench.gate.clear()
    bench.image(1, camera=0)
    bench.boxes(1, camera=0)
    assert bench.reading.wait(WAIT_S)
    # Both wait now; left was served last, so that right is next although left came first.
    for camera in (0, 1):
        bench.image(2, camera=camera)
        bench.boxes(2, camera=camera)
    bench.gate.set()
    bench.until(lambda: len(bench.answers) == 3)
    assert [name for name, _, _ in bench.answers] == ["left", "right", "left"]


def test_visible_masks_can_be_switched_off_while_running(bench):
    bench = bench().start().activate()
    bench.image(10)
    bench.set(visible=False)
    bench.boxes(10)
    bench.until(lambda: bench.answers)
    assert bench.answers[0][2].prediction.visible_masks is None


def test_how_frames_are_kept_can_be_changed_while_running(bench):
    bench = bench().start().activate()
    bench.set(max_wait_s=0.01)
    bench.image(5)
    bench.boxes(10)
    bench.until(lambda: bench.count("dropped_unmatched") == 1)
    assert "no usable image of that stamp came within max_wait_s, 0.01 s" in bench.complaints[0]


def test_a_call_with_an_image_is_answered(bench):
    bench = bench().start().activate()
    given = image(np.zeros((32, 32, 3), np.uint8), "rgb8")
    replies = bench.call(given)
    bench.until(lambda: replies)
    ((frame, answer),) = replies
    assert frame.message is given
    assert answer.image_hw == (32, 32)


def test_all_boxes_of_a_call_are_wanted_whatever_their_score(bench):
    bench = bench(min_detection_score=0.5).start().activate()
    unlikely = box_detection(16, 16, 48, 48, results=[hypothesis("mug", 0.2)])
    replies = bench.call(image(np.zeros((64, 64, 3), np.uint8), "rgb8"), box=unlikely)
    bench.until(lambda: replies)
    assert replies[0][1].indices == [0]


def test_a_call_without_an_image_takes_the_latest_frame(bench):
    bench = bench().start().activate()
    replies = bench.call()
    bench.until(lambda: replies)
    assert replies == ["no image was given and no camera frame has come yet"]
    for stamp_ns in (10, 20):
        bench.image(stamp_ns, pixels=np.zeros((64, stamp_ns, 3), np.uint8))
    replies = bench.call()
    bench.until(lambda: replies)
    assert replies[0][1].image_hw == (64, 20)


def test_boxes_from_before_the_first_image_are_counted_without_a_warning(bench):
    bench = bench(max_wait_s=0.05).start().activate()
    bench.image(20_000_000)
    bench.boxes(10_000_000)
    bench.until(lambda: bench.count("dropped_unmatched") == 1)
    assert bench.complaints == []
    bench.boxes(30_000_000)
    bench.until(lambda: bench.count("dropped_unmatched") == 2)
    assert len(bench.complaints) == 1


def test_a_call_without_an_image_is_not_answered_about_a_frame_that_is_too_old(bench):
    bench = bench(segment_max_age_s=0.01).start().activate()
    bench.image(10)
    time.sleep(0.05)
    replies = bench.call()
    bench.until(lambda: replies)
    assert re.fullmatch(
        r"the latest frame came \d+\.\d s ago, longer than segment_max_age_s, 0\.01 s; check "
        r"the camera, or raise it",
        replies[0],
    )
    given = image(np.zeros((32, 32, 3), np.uint8), "rgb8")
    given_replies = bench.call(given)  # it has no age
    bench.until(lambda: given_replies)
    assert given_replies[0][1].image_hw == (32, 32)
    bench.set(segment_max_age_s=100.0)
    late_replies = bench.call()
    bench.until(lambda: late_replies)
    assert late_replies[0][1].image_hw == (64, 64)


def test_a_call_with_a_damaged_image_hears_what_is_wrong(bench):
    bench = bench().start().activate()
    replies = bench.call(SimpleNamespace(height=1, width=1, step=1, encoding="x", data=b""))
    bench.until(lambda: replies)
    assert replies[0].startswith("the image cannot be segmented: image encoding must be one of")


def test_calls_to_a_worker_that_is_not_active_hear_so(bench):
    bench = bench().start()
    (reply,) = bench.call()
    assert reply.startswith("the node is not active (model ")
    bench.activate()
    bench.gate.clear()
    bench.image(10)
    bench.boxes(10)
    assert bench.reading.wait(WAIT_S)
    waiting = bench.call()
    bench.worker.deactivate()
    assert waiting == ["the node was deactivated before it could answer"]


def test_many_calls_at_once_are_all_answered(bench):
    bench = bench(segment_max_age_s=100.0).start().activate()
    bench.image(10)
    all_replies = []
    threads = [threading.Thread(target=lambda: all_replies.append(bench.call())) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bench.until(lambda: all(all_replies))
    assert all(len(replies) == 1 and replies[0][1].indices == [0] for replies in all_replies)


def test_stopping_ends_the_thread_in_any_state(tiny):
    for prepare in (lambda b: None, Bench.start, lambda b: b.start().activate()):
        bench = Bench(tiny)
        prepare(bench)
        bench.worker.stop()
        assert not bench.worker._thread.is_alive()
