"""The recorder and the viewer find a node in whatever namespace it is."""

import json

import pytest

from sameo_ros.ros.found_nodes import MASKS_TYPE, MaskSource, find_inputs, find_mask_sources
from tests.bundles import make_tiny_bundle


@pytest.mark.parametrize(
    ("source", "prefix", "camera"),
    [
        (MaskSource("/sameo/masks", "sameo", "/"), "/sameo", ""),
        (MaskSource("/arm/sameo/masks", "sameo", "/arm"), "/arm/sameo", ""),
        (MaskSource("/arm/sameo/left/masks", "sameo", "/arm"), "/arm/sameo/left", "left"),
        (MaskSource("/objects/masks", "sameo", "/"), "/objects", ""),  # remapped
    ],
)
def test_topics_and_camera_follow_from_the_name_of_the_masks(source, prefix, camera):
    assert source.prefix == prefix
    assert source.camera == camera


class Graph:
    """What a node knows of the graph: two cameras of one node, and topics of others."""

    def get_topic_names_and_types(self):
        masks = [f"/arm/sameo/{name}/masks" for name in ("left", "right")]
        return [*((name, [MASKS_TYPE]) for name in masks), ("/nobody/masks", [MASKS_TYPE]),
                ("/cam/image", ["sensor_msgs/msg/Image"])]  # fmt: skip

    def get_publishers_info_by_topic(self, topic):
        from types import SimpleNamespace

        info = SimpleNamespace(node_name="sameo", node_namespace="/arm")
        return [info] if topic.startswith("/arm/") else []

    def get_node_names_and_namespaces(self):
        return [("sameo", "/arm"), ("camera", "/")]

    def get_subscriber_names_and_types_by_node(self, name, namespace):
        assert (name, namespace) == ("sameo", "/arm")
        image = ["sensor_msgs/msg/Image"]
        return [("/cams/right/rgb", image), ("/cams/left/rgb", image), ("/other", ["other"])]


def test_only_masks_that_somebody_publishes_are_found():
    sources = find_mask_sources(Graph())
    assert [source.camera for source in sources] == ["left", "right"]
    assert find_inputs(Graph(), sources[1], "sensor_msgs/msg/Image") == ["/cams/right/rgb"]
    assert find_inputs(Graph(), sources[1], "sensor_msgs/msg/CameraInfo") == []


def test_a_node_whose_name_is_not_discovered_yet_has_no_inputs():
    unknown = MaskSource("/sameo/masks", "_NODE_NAME_UNKNOWN_", "_NODE_NAMESPACE_UNKNOWN_")
    assert find_inputs(Graph(), unknown, "sensor_msgs/msg/Image") == []


@pytest.mark.ros
def test_recorder_and_viewer_find_a_node_in_a_namespace(tmp_path):
    pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")
    pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")
    from tests.sameo_ros.node_bench import BOX, Client, NodeProcess, boxes_for, start_node
    from tests.sameo_ros.test_view import read_mcap

    remappings = ("__ns:=/arm", "image:=/cam/rgb", "detections:=/detections")
    words = [word for one in remappings for word in ("-r", one)]
    overrides = {"qos_overrides./cam/rgb.subscription.reliability": "reliable"}
    output, film = tmp_path / "out", tmp_path / "film.mcap"
    processes = [
        start_node(tmp_path, make_tiny_bundle(tmp_path / "tiny"), *words, **overrides),
        NodeProcess(tmp_path, "view", "--record", str(film)),
        NodeProcess(tmp_path, "recorder", "--output", str(output), "--count", "1"),
    ]
    client = Client("/cam/rgb")
    client.outputs = "/arm/sameo/"

    def send():
        image = client.image()
        boxes = boxes_for(image, BOX)
        boxes.detections[0].id = "mugs#0"
        client.send(image, boxes)
        client.spin(0.2)

    try:
        client.until_active()
        client.until(lambda: client.node.count_subscribers("/arm/sameo/overlay"))
        client.until(lambda: send() or processes[2].popen.poll() is not None)
        for _ in range(5):  # the viewer may be known to the node later than the recorder
            send()
    finally:
        client.close()
        statuses = [process.stop() for process in reversed(processes)]
    assert statuses == [0, 0, 0], processes[2].text()
    (record,) = json.loads((output / "masks.json").read_text())
    assert record["image"] == "mugs"
    messages = read_mcap(film)
    assert messages["/arm/sameo/overlay"]
    assert b"arm/sameo: masks" in messages["/sameo/diagnostics"][-1]
