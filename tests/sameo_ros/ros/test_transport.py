import json
import os
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from sameo_ros.ros.transport import describe_transport, use_large_socket_buffers
from tests.sameo_ros.processes import ROOT

PROFILES = ROOT / "config" / "fastdds.xml"
PROFILE_VARIABLES = "FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE"

LISTEN = """
import time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

rclpy.init()
node, images, boxes = rclpy.create_node("listener"), [], []
qos = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
node.create_subscription(Image, "image", images.append, qos)
node.create_subscription(Detection2DArray, "detections", boxes.append, qos)
deadline_s = time.monotonic() + 30
while len(images) < 20 and time.monotonic() < deadline_s:
    rclpy.spin_once(node, timeout_sec=0.1)
print([image.width for image in images])
"""


@pytest.fixture
def kernel_limit(tmp_path):
    path = tmp_path / "rmem_max"
    path.write_text("4194304\n")
    return path


def test_large_buffers_are_chosen_where_the_kernel_allows_them(kernel_limit):
    environment = {}
    assert use_large_socket_buffers(environment, kernel_limit)
    assert environment == {"FASTDDS_BUILTIN_TRANSPORTS": "UDPv4?sockets_size=4000000B"}


@pytest.mark.parametrize(
    "name",
    ["FASTDDS_BUILTIN_TRANSPORTS", *PROFILE_VARIABLES],
)
def test_the_users_choice_stands(name, kernel_limit):
    environment = {name: "mine"}
    assert not use_large_socket_buffers(environment, kernel_limit)
    assert environment == {name: "mine"}


def test_nothing_changes_where_the_kernel_does_not_allow_it(kernel_limit):
    environment = {}
    kernel_limit.write_text("212992\n")
    assert not use_large_socket_buffers(environment, kernel_limit)
    assert not use_large_socket_buffers(environment, kernel_limit.with_name("missing"))
    assert environment == {}


@pytest.mark.parametrize("name", [None, *PROFILE_VARIABLES])
def test_the_profile_is_advised_under_its_names_of_all_distributions(name, kernel_limit):
    environment = {} if name is None else {name: "mine.xml"}
    sentence = describe_transport(environment, "rmw_fastrtps_cpp", kernel_limit)
    assert all(one in sentence for one in PROFILE_VARIABLES)
    assert f"(now {environment.get(name, 'none')})" in sentence
    assert "(now 4194304 bytes)" in sentence


def test_the_shared_memory_of_five_processes_fits_into_that_of_a_container():
    transports = ElementTree.parse(PROFILES).findall(".//{*}transport_descriptor")
    (shared,) = [one for one in transports if one.findtext("{*}type") == "SHM"]
    segment_bytes = int(shared.findtext("{*}segment_size"))
    # Docker gives /dev/shm 64 MB; ports and queues of a process take less than half a MiB.
    assert 5 * (segment_bytes + 2**19) <= 64 * 2**20
    # A Full HD colour image still fits, and no message may be larger than the segment.
    assert 1920 * 1080 * 3 < int(shared.findtext("{*}maxMessageSize")) <= segment_bytes


@pytest.mark.ros
def test_with_the_profile_no_image_is_lost_on_one_machine(tmp_path):
    cv2 = pytest.importorskip("cv2")
    for i in range(5):
        pixels = np.zeros((480, 640 + i, 3), np.uint8)
        cv2.imwrite(str(tmp_path / f"{i}.png"), pixels)
    boxes = {f"{i}.png": [{"box": [0, 0, 9, 9]}] for i in range(5)}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    environment = {**os.environ, **dict.fromkeys(PROFILE_VARIABLES, str(PROFILES))}
    commands = [
        ["-c", LISTEN],
        [
            *("-m", "sameo_ros.replay", "--images", tmp_path, "--boxes", tmp_path / "boxes.json"),
            *("--rate", 50, "--count", 60, "--reliability", "best_effort"),
        ],
    ]
    listener, replay = (
        subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for command in commands
    )
    widths = json.loads(listener.communicate(timeout=60)[0])
    assert replay.wait(30) == 0
    # The first may be sent before both sides know each other; from then on none is left out.
    assert len(widths) == 20
    assert set(np.diff(widths)) == {1, -4}
