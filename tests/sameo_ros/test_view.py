"""The viewer over a real WebSocket, fed by the node over DDS."""

import base64
import json
import os
import socket
import struct

import numpy as np
import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")
pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")

from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from visualization_msgs.msg import Marker  # noqa: E402

from tests.bundles import make_tiny_bundle  # noqa: E402
from tests.sameo_ros.node_bench import (  # noqa: E402
    RELIABLE,
    Client,
    NodeProcess,
    boxes_for,
    start_node,
)
from tests.sameo_ros.processes import ROOT  # noqa: E402


class WebSocket:
    """As much of RFC 6455 as listening takes."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=30)
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: foxglove.sdk.v1\r\n\r\n"
        )
        self.socket.sendall(request.encode())
        self.stream = self.socket.makefile("rb")
        assert b"101" in self.stream.readline()
        while self.stream.readline().strip():
            pass

    def receive(self):
        """Return the next frame: a dict for text, bytes for data."""
        first, second = self.stream.read(2)
        length = second & 0x7F
        if length == 126:
            (length,) = struct.unpack(">H", self.stream.read(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", self.stream.read(8))
        data = self.stream.read(length)
        return json.loads(data) if first & 0x0F == 1 else data

    def send(self, content):
        data = json.dumps(content).encode()
        assert len(data) < 126
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
        self.socket.sendall(bytes([0x81, 0x80 | len(data)]) + mask + masked)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_overlay_boxes_and_points_reach_a_browser(tmp_path):
    port = free_port()
    processes = [
        start_node(tmp_path, make_tiny_bundle(tmp_path / "tiny"), points_of="0"),
        NodeProcess(tmp_path, "view", "--port", str(port)),
    ]
    client = Client()
    infos = client.node.create_publisher(CameraInfo, "camera_info", RELIABLE)
    depths = client.node.create_publisher(Image, "depth", RELIABLE)
    try:
        client.until_active()
        for topic in ("overlay", "markers", "points"):
            name = f"/sameo/{topic}"
            client.until(lambda: client.node.count_subscribers(name))  # noqa: B023
        browser = WebSocket(port)
        channels = {}
        while len(channels) < 4:
            frame = browser.receive()
            if isinstance(frame, dict) and frame["op"] == "advertise":
                channels.update({one["topic"]: one for one in frame["channels"]})
        schemas = {topic: one["schemaName"] for topic, one in channels.items()}
        assert schemas["/sameo/overlay"] == "foxglove.RawImage"
        assert schemas["/sameo/objects"] == "foxglove.SceneUpdate"
        assert schemas["/sameo/points"] == "foxglove.PointCloud"
        ids = {topic: number for number, topic in enumerate(channels, start=1)}
        for topic, number in ids.items():
            subscription = {"id": number, "channelId": channels[topic]["id"]}
            browser.send({"op": "subscribe", "subscriptions": [subscription]})

        info = CameraInfo(height=64, width=64)
        info.k = [100.0, 0, 32, 0, 100, 32, 0, 0, 1]
        wanted = {ids["/sameo/overlay"], ids["/sameo/objects"], ids["/sameo/points"]}
        received = {}
        while wanted - set(received):
            image = client.image(np.full((64, 64, 3), 77, np.uint8))
            depth = Image(header=image.header, height=64, width=64, encoding="16UC1", step=128)
            depth.data = np.full((64, 64), 2000, "<u2").tobytes()
            infos.publish(info)
            depths.publish(depth)
            client.spin(0.05)
            client.answer(image, boxes_for(image, (16, 16, 48, 48)))
            frame = browser.receive()
            if isinstance(frame, bytes) and frame[0] == 1:  # message data
                received[struct.unpack_from("<I", frame, 1)[0]] = frame[13:]
        assert bytes([77] * 30) in received[ids["/sameo/overlay"]]  # pixels beside the object
        assert b"boxes/0" in received[ids["/sameo/objects"]]
        assert b"labels/0" in received[ids["/sameo/objects"]]
        assert struct.pack("<f", 2.0) in received[ids["/sameo/points"]]
    finally:
        client.close()
        for process in processes:
            assert process.stop() == 0, process.text()


def read_records(data):
    """Split MCAP records into (opcode, content)."""
    while data:
        (length,) = struct.unpack_from("<Q", data, 1)
        yield data[0], data[9 : 9 + length]
        data = data[9 + length :]


def read_mcap(path):
    """Return the messages of each topic, as the MCAP specification lays them out."""
    zstd = pytest.importorskip("backports.zstd", reason="it comes with rosbags")
    magic = b"\x89MCAP0\r\n"
    data = path.read_bytes()
    assert data.startswith(magic)
    assert data.endswith(magic)
    topics, messages = {}, {}
    for opcode, content in read_records(data[8:-8]):
        if opcode != 6:  # a chunk
            continue
        (length,) = struct.unpack_from("<I", content, 28)
        assert content[32 : 32 + length] == b"zstd"
        chunk = zstd.decompress(content[40 + length :])
        for inner, record in read_records(chunk):
            if inner == 4:  # a channel
                number, _, length = struct.unpack_from("<HHI", record)
                topics[number] = record[8 : 8 + length].decode()
            elif inner == 5:  # a message
                (number,) = struct.unpack_from("<H", record)
                messages.setdefault(topics[number], []).append(record[22:])
    return messages


def test_without_a_display_a_file_is_recorded(tmp_path):
    path = tmp_path / "run.mcap"
    processes = [
        start_node(tmp_path, make_tiny_bundle(tmp_path / "tiny")),
        NodeProcess(tmp_path, "view", "--record", str(path)),
    ]
    client = Client()
    try:
        client.until_active()
        client.until(lambda: client.node.count_subscribers("/sameo/overlay"))
        client.spin(0.5)  # until the node knows of it, too
        for _ in range(5):
            image = client.image(np.full((64, 64, 3), 77, np.uint8))
            client.answer(image, boxes_for(image, (16, 16, 48, 48)))
        client.spin(0.5)
    finally:
        client.close()
        for process in reversed(processes):
            assert process.stop() == 0, process.text()
    messages = read_mcap(path)
    assert bytes([77] * 30) in messages["/sameo/overlay"][-1]  # pixels beside the object
    states = [json.loads(data) for data in messages["/sameo/diagnostics"]]
    assert {state["name"] for state in states} == {"sameo: masks"}


def test_a_turned_box_is_shown_turned():
    import foxglove.messages

    from sameo_ros.view import marker_to_entity

    marker = Marker(type=Marker.CUBE)
    marker.pose.position.x = 2.0
    marker.pose.orientation.z, marker.pose.orientation.w = 0.6, 0.8
    shown = repr(marker_to_entity(foxglove.messages, marker))
    assert "Vector3 { x: 2.0, y: 0.0, z: 0.0 }" in shown
    assert "Quaternion { x: 0.0, y: 0.0, z: 0.6, w: 0.8 }" in shown


@pytest.mark.parametrize("name", ["there.mcap", "no_such_folder/run.mcap"])
def test_a_file_that_cannot_be_recorded_is_named(tmp_path, name):
    (tmp_path / "there.mcap").write_text("something else")
    process = NodeProcess(tmp_path, "view", "--record", str(tmp_path / name))
    assert process.popen.wait(30) == 1
    assert process.text().startswith("view: ")
    assert name in process.text()
    assert (tmp_path / "there.mcap").read_text() == "something else"


def test_the_layout_shows_the_topics_that_are_served():
    layout = json.loads((ROOT / "config" / "foxglove.json").read_text())
    from sameo_ros.view import channel_names

    served = {*channel_names("/sameo").values(), "/sameo/diagnostics"}
    panels = layout["configById"]
    topics = [
        panels["Image!overlay"]["imageMode"]["imageTopic"],
        *panels["3D!objects"]["topics"],
        panels["RawMessages!diagnostics"]["topicPath"],
    ]
    assert len(topics) == 4
    assert set(topics) == served


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = NodeProcess(tmp_path, "view", "--port", str(port))
        assert process.popen.wait(30) == 1
    assert process.text().startswith(f"view: cannot serve on 127.0.0.1:{port}")


def test_a_port_that_cannot_be_is_named(tmp_path):
    process = NodeProcess(tmp_path, "view", "--port", "99999")
    assert process.popen.wait(30) == 1
    (line,) = process.text().strip().splitlines()
    assert line.startswith("view: cannot serve on 127.0.0.1:99999: ")
