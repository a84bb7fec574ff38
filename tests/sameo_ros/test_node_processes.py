"""Nodes that a test starts itself: life cycle, faulty models, many frames, restarts."""

import math
import signal

import cv2
import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from rosgraph_msgs.msg import Clock  # noqa: E402
from sensor_msgs.msg import CompressedImage  # noqa: E402

from sameo_ros.core.stamps import stamp_to_ns  # noqa: E402
from tests.bundles import make_tiny_bundle  # noqa: E402
from tests.image_files import tagged  # noqa: E402
from tests.sameo_ros.node_bench import BOX, Client, boxes_for, start_node  # noqa: E402


@pytest.fixture
def start(tmp_path):
    """Start nodes that are stopped after the test."""
    processes = []

    def start(model, *arguments, **parameters):
        processes.append(start_node(tmp_path, model, *arguments, **parameters))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


@pytest.fixture
def client():
    client = Client()
    yield client
    client.close()


def test_without_autostart_the_node_goes_through_its_states_on_request(tiny, start, client):
    process = start(tiny, autostart=False)
    client.until(lambda: client.values().get("message", "").startswith("not active"))
    assert client.state() == "unconfigured"
    assert not client.transition("activate")  # no such transition from here

    assert client.transition("configure")
    client.until(lambda: client.values()["message"].endswith("is ready"))
    assert client.state() == "inactive"
    assert client.transition("activate")
    client.until_active()
    assert len(client.answer_good_frame().masks) == 1
    client.until(lambda: client.values()["state"] == "active")

    assert client.transition("deactivate")
    client.until(lambda: client.images.get_subscription_count() == 0)
    client.masks.clear()
    image = client.image()
    client.send(image, boxes_for(image, BOX))
    client.spin(0.3)
    assert client.masks == []

    assert client.transition("activate")
    client.until_active()
    assert len(client.answer_good_frame().masks) == 1
    assert client.transition("deactivate")
    assert client.transition("cleanup")
    assert client.state() == "unconfigured"
    client.until(lambda: client.values()["message"].endswith("is not loaded"))
    assert client.transition("configure")
    client.until(lambda: client.values()["message"].endswith("is ready"))
    assert client.transition("shutdown")
    assert client.state() == "finalized"
    assert process.stop() == 0


def test_misspelt_parameters_are_named(tiny, start, client):
    override = {"qos_overrides.image.subscription.depth": 3}
    process = start(tiny, min_detection_scor=0.9, **override)
    client.until(lambda: "mean min_detection_score?" in process.text())
    client.until(lambda: "mean qos_overrides./image.subscription.depth?" in process.text())
    assert process.text().count("do not exist") == 2


def test_a_transition_that_failed_is_an_error_with_its_reason(tiny, start, client):
    start(tiny, **{"qos_overrides./image.subscription.reliability": "relible"})
    client.until(lambda: client.values().get("level") == "2")
    assert "on_activate failed: " in client.values()["message"]
    assert "`relible`" in client.values()["message"]


def test_a_missing_or_damaged_model_is_named_and_can_be_replaced(tmp_path, tiny, start, client):
    damaged = make_tiny_bundle(tmp_path / "damaged")
    path = damaged / "mask_decoder.onnx"
    path.write_bytes(path.read_bytes() + b"x")
    process = start("no_such_model")
    client.until(lambda: client.values().get("level") == "2")
    assert "no_such_model" in client.values()["message"]
    assert client.state() == "inactive"
    assert not client.transition("activate")
    client.until(lambda: "cannot activate: model no_such_model is not usable" in process.text())
    assert client.set(model=str(damaged)).successful
    client.until(lambda: "SHA-256" in client.values()["message"])
    assert "mask_decoder.onnx" in client.values()["message"]
    assert process.text().count("model cannot be loaded") == 2
    assert client.set(model=str(tiny)).successful
    client.until(lambda: client.values()["message"].endswith("is ready"))
    assert client.transition("activate")
    client.until_active()
    assert client.answer_good_frame().model == "tiny"


def test_an_unknown_backend_or_pinning_is_named_until_it_is_replaced(tiny, start, client):
    start(tiny, backend="abacus", pin_threads="sideways")
    client.until(lambda: client.values().get("level") == "2")
    assert "abacus" in client.values()["message"]
    assert client.set(backend="onnxruntime").successful
    wrong = "pin_threads must be one of auto, on, off; got 'sideways'"
    client.until(lambda: wrong in client.values()["message"])
    assert client.set(pin_threads="auto").successful
    client.until(lambda: client.values()["message"].endswith("is ready"))


def test_a_cache_that_cannot_be_written_is_a_warning_and_no_more(tiny, start, client):
    process = start(tiny, backend="openvino", cache_dir="/proc/nothing")
    client.until_active()
    assert len(client.answer_good_frame().masks) == 1
    assert "compiled models are not kept in /proc/nothing" in process.text()


def test_threads_that_cannot_be_had_are_named_and_others_are_taken(tiny, start, client):
    start(tiny, backend="openvino", precision="f32", threads=1, decoder_streams=2)
    client.until(lambda: client.values().get("level") == "2")
    assert "decoder_streams must be from 0 to 1" in client.values()["message"]
    assert client.set(decoder_streams=1, pin_threads="off").successful
    client.until(lambda: client.values()["message"].endswith("is ready"))
    assert client.transition("activate")
    client.until_active()
    assert len(client.answer_good_frame().masks) == 1


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"image_transport": "theora"}, "image_transport must be one of raw, compressed; got"),
        ({"max_age_s": 500.0}, "max_age_s"),
        ({"max_age_s": "long"}, "max_age_s"),
    ],
)
def test_a_wrong_parameter_at_the_start_ends_in_one_sentence(tiny, start, parameters, words):
    process = start(tiny, **parameters)
    assert process.popen.wait(30) == 1
    last_line = process.text().strip().splitlines()[-1]
    assert last_line.startswith("sameo_node: ")
    assert words in last_line
    assert "Traceback" not in process.text()


def test_off_and_whole_numbers_can_be_given_on_the_command_line(tiny, start, client):
    process = start(tiny, encode_ahead="off", max_age_s=3, points_of=0)
    client.until_active()
    assert len(client.answer_good_frame().masks) == 1
    assert process.stop(signal.SIGTERM) == 0
    assert "Traceback" not in process.text()


def test_with_sim_time_the_node_answers_without_clock_and_one_that_jumps_back(tiny, start, client):
    process = start(tiny, use_sim_time=True)
    client.until_active()
    assert len(client.answer_good_frame().masks) == 1
    client.until_count("masks_published", 1)
    clock = client.node.create_publisher(Clock, "/clock", 10)
    client.until(clock.get_subscription_count)
    for start_s in (100, 50, 0):  # a bag that is played again
        client.spin(0.1)
        for step in range(3):
            stamp_ns = start_s * 1_000_000_000 + step * 100_000_000 + 1
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(stamp_ns, 1_000_000_000)
            clock.publish(message)
            client.masks.clear()
            image = client.image(stamp_ns=stamp_ns)
            assert len(client.answer(image, boxes_for(image, BOX)).masks) == 1
    client.until_count("time_jumps", 2)
    client.until_count("masks_published", 10)
    assert process.stop(signal.SIGINT) == 0
    assert "Traceback" not in process.text()


def test_another_model_is_taken_by_deactivate_set_activate(tmp_path, tiny, start, client):
    process = start(tiny)
    client.until_active()
    assert not math.isnan(client.answer_good_frame().masks[0].occlusion_ratio)
    other = make_tiny_bundle(tmp_path / "other", visible=False)
    assert not client.set(model=str(other)).successful  # not while it is active
    assert client.transition("deactivate")
    assert client.set(model=str(other)).successful
    client.until(lambda: client.transition("activate"))  # refused as long as it loads
    client.until_active()
    assert math.isnan(client.answer_good_frame().masks[0].occlusion_ratio)
    assert "Traceback" not in process.text()


def test_compressed_images_are_read_and_those_that_are_turned_upright_named_once(tiny, start):
    reliable = {"qos_overrides./image/compressed.subscription.reliability": "reliable"}
    process = start(tiny, image_transport="compressed", **reliable)
    client = Client("image/compressed", CompressedImage)
    try:
        client.until_active()
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[..., 2] = 255  # BGR: red

        def is_nonsense_rejected():
            image = client.compressed(b"nonsense")
            client.send(image, boxes_for(image, BOX))
            client.spin(0.2)
            return int(client.values().get("images_rejected", 0)) > 0

        client.until(
            is_nonsense_rejected
        )  # the first images may be lost until both sides know each other
        image = client.compressed(cv2.imencode(".png", pixels)[1].tobytes())
        assert client.answer(image, boxes_for(image, BOX)).masks[0].predicted_iou == 1.0
        for orientation in (1, 6, 6):
            data = tagged("jpg", np.zeros((48, 64, 3), np.uint8), orientation)
            image = client.compressed(data)
            masks = client.answer(image, boxes_for(image, BOX))
            is_turned = orientation == 6
            assert (masks.image_width, masks.image_height) == ((48, 64) if is_turned else (64, 48))
            assert process.text().count("are turned upright") == is_turned
        assert "have the EXIF orientation 6" in process.text()
    finally:
        client.close()


def test_two_cameras_share_one_model(tiny, start):
    start(
        tiny,
        cameras="left,right",
        **{
            f"qos_overrides./{name}/image.subscription.reliability": "reliable"
            for name in ("left", "right")
        },
    )
    clients = [Client(f"{name}/image", camera=name) for name in ("left", "right")]
    try:
        for client, red in zip(clients, (0, 255), strict=True):
            client.until_active()
            _send_until_answered(client, red)
        (*_, array) = clients[0].until(lambda: clients[0].diagnostics)
        names = {status.name for status in array.status}
        assert names == {"sameo: left", "sameo: right"}
        for client, red in zip(clients, (0, 255), strict=True):
            assert {m.masks[0].predicted_iou for m in client.masks} == {red / 255}
    finally:
        for client in clients:
            client.close()


def _send_until_answered(client, red):
    """Publish until masks come: a first answer can precede the discovery of who listens."""
    for _ in range(20):
        image = client.image(np.full((64, 64, 3), red, np.uint8))
        client.send(image, boxes_for(image, BOX))
        client.spin(0.5, lambda: bool(client.masks))
        if client.masks:
            return
    raise AssertionError(f"no answer to 20 images; {client.values()}")


def test_500_frames_at_full_speed_are_accounted_for_in_constant_memory(tiny, start, client):
    process = start(tiny, max_age_s=0.2)
    client.until_active()
    sent, memory_mib = set(), []
    pixels = np.zeros((480, 640, 3), np.uint8)
    for number in range(500):
        image = client.image(pixels)
        sent.add(client.send(image, boxes_for(image, *[BOX] * 8)))
        client.spin(0.01)
        if number >= 50 and number % 25 == 0:
            memory_mib.append(process.resident_mib())
    client.spin(1.0)  # what is on the way arrives
    values = client.until_accounted()
    received, published = int(values["detections_received"]), int(values["masks_published"])
    assert received >= 250  # the rest was lost on the way, before the node
    assert published >= 50
    stamps = [stamp_to_ns(message.header.stamp) for message in client.masks]
    assert set(stamps) <= sent
    assert len(set(stamps)) == len(stamps)
    # Frames come in bursts, and as many more or fewer images of 0.9 MB are in the cache.
    early_mib, late_mib = np.median(memory_mib[1:9]), np.median(memory_mib[-8:])
    assert late_mib <= early_mib + 8, memory_mib


def test_a_restarted_node_answers_again(tiny, start, client):
    for _ in range(2):
        process = start(tiny)
        client.until_active()
        client.masks.clear()
        # The first frames may be lost until both sides know each other.
        client.until(client.send_and_find)
        process.popen.kill()
        process.popen.wait()
