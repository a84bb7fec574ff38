"""What the launch files make of their arguments; neither launch nor ROS is needed."""

import dataclasses
from types import SimpleNamespace

import pytest
import yaml

from sameo_ros.core.settings import SameoParameters
from sameo_ros.ros import launch_arguments as arguments
from tests.sameo_ros.processes import ROOT

NOTHING = {one.name: "" for one in dataclasses.fields(SameoParameters)}
NOTHING |= {"lifecycle": "false", "reliability": ""}


def write(tmp_path, content):
    path = tmp_path / "mine.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("given", "cameras"),
    [
        ("", [""]),
        ("[]", [""]),
        ("['']", [""]),
        ("left", ["left"]),
        ("left,right", ["left", "right"]),
        ("left, right", ["left", "right"]),
        ("[left]", ["left"]),
        ("[left, right]", ["left", "right"]),
        ("['left','right']", ["left", "right"]),
        ("[on, off]", ["on", "off"]),  # truth values to YAML
    ],
)
def test_cameras_mean_what_they_look_like(given, cameras):
    assert arguments.read_cameras(given, None, "/sameo") == cameras


@pytest.mark.parametrize(
    ("value", "cameras"),
    [(["left", "right"], ["left", "right"]), ("left,right", ["left", "right"]), ("left", ["left"]),
     ([], [""]), ([""], [""])],
)  # fmt: skip
def test_cameras_of_the_file_count_unless_others_are_given(tmp_path, value, cameras):
    config = write(tmp_path, {"/**": {"ros__parameters": {"cameras": value}}})
    assert arguments.read_cameras("", config, "/sameo") == cameras
    assert arguments.read_cameras("other", config, "/sameo") == ["other"]
    assert arguments.read_cameras("[]", config, "/sameo") == [""]


@pytest.mark.parametrize("given", ["left,left", "left,", "le-ft", "[left", "[[left]]", "1st"])
def test_cameras_that_cannot_be_are_refused(given):
    with pytest.raises(ValueError, match=r"cameras must (hold different names|be a list)"):
        arguments.read_cameras(given, None, "/sameo")


@pytest.mark.parametrize(
    ("content", "value"),
    [
        ({"/**": {"ros__parameters": {"threads": 1}}}, 1),
        ({"sameo": {"ros__parameters": {"threads": 1}}}, None),
        ({"/arm/sameo": {"ros__parameters": {"threads": 1}}}, 1),
        ({"arm": {"sameo": {"ros__parameters": {"threads": 1}}}}, 1),
        ({"/arm": {"/sameo": {"ros__parameters": {"threads": 1}}}}, 1),
        ({"/*/sameo": {"ros__parameters": {"threads": 1}}}, 1),
        ({"/*": {"ros__parameters": {"threads": 1}}}, None),
        ({"/**/sameo": {"ros__parameters": {"threads": 1}}}, 1),
        ({"/arm/**": {"ros__parameters": {"threads": 1}}}, 1),
        ({"/leg/sameo": {"ros__parameters": {"threads": 1}}}, None),
        ({"/arm/sameo": {"ros__parameters": {"visible": False}}}, None),
        ({"/**": {"ros__parameters": {"threads": 1}},
          "/arm/sameo": {"ros__parameters": {"threads": 2}}}, 2),
        ({}, None),
    ],
)  # fmt: skip
def test_a_parameter_file_is_read_as_ros_reads_it(tmp_path, content, value):
    path = write(tmp_path, yaml.safe_dump(content, sort_keys=False))
    assert arguments.read_file_parameter(path, "/arm/sameo", "threads") == value


def test_the_shipped_parameter_file_asks_for_a_single_camera():
    assert arguments.read_cameras("", ROOT / "config" / "sameo.yaml", "/sameo") == [""]


def test_a_missing_parameter_file_is_an_error(tmp_path, monkeypatch):
    assert arguments.find_config("") is None
    with pytest.raises(FileNotFoundError, match=r"config must name a YAML file.* nowhere\.yaml is"):
        arguments.find_config("nowhere.yaml")
    with pytest.raises(FileNotFoundError, match="is no file"):
        arguments.find_config(str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(tmp_path, "{}")
    assert arguments.find_config("~/mine.yaml") == path


@pytest.mark.parametrize(("content", "reason"), [("a: [", "be YAML"), ("- a", "hold parameters")])
def test_a_broken_parameter_file_is_an_error(tmp_path, content, reason):
    with pytest.raises(ValueError, match=rf"config \S+mine.yaml must {reason}"):
        arguments.read_cameras("", write(tmp_path, content), "/sameo")


def images(cameras, **given):
    topics = {"image": "unused", "depth": "d", "camera_info": "i", "detections": "b", **given}
    remappings = arguments.read_remappings(topics, cameras)
    return {name: topic for name, topic in remappings if name.endswith("image")}


@pytest.mark.parametrize(
    ("image", "topics"),
    [
        ("image_raw", {"left/image": "left/image_raw", "right/image": "right/image_raw"}),
        ("/{camera}/rgb", {"left/image": "/left/rgb", "right/image": "/right/rgb"}),
        ("cam_{camera}", {"left/image": "cam_left", "right/image": "cam_right"}),
    ],
)
def test_every_camera_gets_its_topics(image, topics):
    assert images(["left", "right"], image=image) == topics


def test_one_camera_gets_the_topic_as_it_is_given():
    assert images([""], image="/camera/image_raw") == {"image": "/camera/image_raw"}


def test_two_cameras_on_one_topic_are_refused():
    with pytest.raises(ValueError, match="topic /rgb is given twice"):
        images(["left", "right"], image="/rgb")


@pytest.mark.parametrize(
    ("namespace", "topic", "name"),
    [("", "image", "/image"), ("arm/", "image", "/arm/image"), ("arm", "/image", "/image")],
)
def test_reliability_is_asked_for_under_the_full_name(namespace, topic, name):
    given = arguments.read_parameters(
        NOTHING | {"reliability": "reliable"}, cameras=[""], namespace=namespace, topics=[topic]
    )
    assert given[f"qos_overrides.{name}.subscription.reliability"] == "reliable"
    assert given[f"qos_overrides.{name}/compressed.subscription.reliability"] == "reliable"


def test_only_what_is_given_overrides_the_file():
    values = NOTHING | {"threads": "2", "visible": "false", "points_of": "12", "lifecycle": "true"}
    given = arguments.read_parameters(values, cameras=["left"], namespace="", topics=[])
    # Text stays text, however much it looks like a number.
    assert given == {
        "cameras": ["left"], "threads": 2, "visible": False, "points_of": "12", "autostart": False
    }  # fmt: skip


@pytest.mark.parametrize(
    ("namespace", "camera", "overlay"),
    [
        ("", "", "/sameo/overlay"),
        ("arm", "", "/arm/sameo/overlay"),
        ("", "left", "/sameo/left/overlay"),
        ("/arm", "left", "/arm/sameo/left/overlay"),
    ],
)
def test_rviz_shows_the_topics_of_a_camera(namespace, camera, overlay):
    config = ROOT / "config" / "sameo.rviz"
    remappings = dict(arguments.rviz_remappings(config, namespace, camera))
    assert remappings["/sameo/overlay"] == overlay
    assert set(remappings) >= {"/sameo/overlay", "/sameo/markers", "/sameo/points"}


def test_every_parameter_is_described_with_its_default_and_range():
    described = arguments.describe_parameters()
    assert set(described) == {one.name for one in dataclasses.fields(SameoParameters)}
    assert "Default: 0.5. Range: 0 to 10." in described["max_wait_s"]
    assert "Default: auto. One of: on, off, auto." in described["encode_ahead"]
    assert 'Default: [""]. Read-only.' in described["cameras"]
    assert "Default: (empty)." in described["cache_dir"]
    assert "Default: true." in described["visible"]


def diagnostics(name, level, **values):
    pairs = [SimpleNamespace(key=key, value=value) for key, value in values.items()]
    status = SimpleNamespace(name=name, level=bytes([level]), values=pairs)
    other = SimpleNamespace(name="camera: driver", level=b"\x00", values=[])
    return SimpleNamespace(status=[other, status])


@pytest.mark.parametrize(
    ("name", "level", "model", "is_ready"),
    [
        ("arm/sameo: masks", 1, "sameo_lite", True),
        ("arm/sameo: left", 1, "sameo_lite", True),
        ("arm/sameo: masks", 1, "", False),
        ("arm/sameo: masks", 2, "sameo_lite", False),
        ("leg/sameo: masks", 1, "sameo_lite", False),
    ],
)
def test_a_node_is_ready_when_its_diagnostics_name_a_loaded_model(name, level, model, is_ready):
    message = diagnostics(name, level, model=model)
    assert arguments.is_ready(message, "/arm/sameo") is is_ready
