"""The launch files: compiled everywhere, started where launch_ros is installed."""

import importlib.util
import os
import py_compile
import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import yaml

from sameo_model.runtime.backends import cuda
from sameo_ros.ros.launch_arguments import TOPICS, describe_parameters
from tests.bundles import add_tiny_detector, make_tiny_bundle
from tests.sameo_ros.processes import ROOT

FILES = sorted((ROOT / "launch").glob("*.launch.py"))
NEEDS_LAUNCH = "launch_ros is not installed: it comes with a ROS distribution"

START = """
import sys
from launch import LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description import LaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

source = PythonLaunchDescriptionSource(sys.argv[1])
given = [tuple(one.split(":=", 1)) for one in sys.argv[2:]]
service = LaunchService()
include = IncludeLaunchDescription(source, launch_arguments=given)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


def test_there_are_launch_files():
    assert [path.name for path in FILES] == ["demo.launch.py", "sameo.launch.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_launch_file_compiles(path, tmp_path):
    py_compile.compile(str(path), cfile=str(tmp_path / "compiled.pyc"), doraise=True)


def test_rviz_shows_the_topics_that_the_node_publishes():
    config = yaml.safe_load((ROOT / "config" / "sameo.rviz").read_text())
    displays = config["Visualization Manager"]["Displays"]
    topics = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    assert topics == {"/sameo/overlay", "/sameo/markers", "/sameo/points"}


def test_every_parameter_and_topic_is_an_argument_without_a_second_default():
    launch = pytest.importorskip("launch", reason=NEEDS_LAUNCH)
    pytest.importorskip("launch_ros", reason=NEEDS_LAUNCH)
    from launch.launch_description_sources import get_launch_description_from_python_launch_file

    path = str(ROOT / "launch" / "sameo.launch.py")
    arguments = get_launch_description_from_python_launch_file(path).get_launch_arguments()
    context = launch.LaunchContext()
    defaults = {
        argument.name: "".join(part.perform(context) for part in argument.default_value)
        for argument in arguments
    }
    parameters = describe_parameters()
    own = {"namespace", "config", "reliability", "lifecycle", "build_only", "rviz", "rviz_frame"}
    assert set(defaults) == set(parameters) | set(TOPICS) | own
    assert {defaults[name] for name in parameters} == {""}
    shown = {argument.name: argument.description for argument in arguments}
    assert all(shown.values())
    # `--show-args` shows defaults and ranges.
    assert {name: shown[name] for name in parameters} == parameters


def load_launch_file(file):
    """Import a launch file as a module."""
    pytest.importorskip("launch_ros", reason=NEEDS_LAUNCH)
    path = str(ROOT / "launch" / file)
    spec = importlib.util.spec_from_loader(file, SourceFileLoader(file, path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sameo_launch():
    """The module launch/sameo.launch.py."""
    return load_launch_file("sameo.launch.py")


@pytest.mark.parametrize(
    ("given", "detector"),
    [
        ({"boxes": ""}, "builtin"),
        ({"boxes": "", "detector": ""}, "builtin"),
        ({"boxes": "boxes.json"}, None),
        ({"boxes": "", "detections": "/yolo/detections"}, None),
        ({"boxes": "", "detector": "topic"}, "topic"),
    ],
)
def test_the_demo_finds_objects_itself_where_nobody_sends_boxes(given, detector):
    demo = load_launch_file("demo.launch.py")
    context = SimpleNamespace(launch_configurations=dict(given))
    demo.choose_detector(context)
    assert context.launch_configurations.get("detector") == detector


def start_nodes(sameo_launch, **values):
    """What launch would start with these values of its arguments."""
    import launch

    context = launch.LaunchContext()
    description = sameo_launch.generate_launch_description()
    for argument in description.get_launch_arguments():
        context.launch_configurations[argument.name] = "".join(
            part.perform(context) for part in argument.default_value
        )
    context.launch_configurations.update(values)
    return sameo_launch.start_nodes(context)


def test_building_only_starts_the_builder_with_the_nodes_parameters(sameo_launch, tmp_path):
    (tmp_path / "mine.yaml").write_text("{}")
    given = {"namespace": "left,right", "config": str(tmp_path / "mine.yaml"), "model": "mine"}
    given |= {"lifecycle": "true", "rviz": "true"}
    builders = start_nodes(sameo_launch, build_only="true", **given)
    assert [builder.node_executable for builder in builders] == ["sameo_build_engines"] * 2
    assert start_nodes(sameo_launch, **given)[0].node_executable == "sameo_node"


def test_a_missing_parameter_file_starts_nothing(sameo_launch):
    with pytest.raises(FileNotFoundError, match="config must name a YAML file"):
        start_nodes(sameo_launch, config="/nowhere/mine.yaml")


def test_without_rviz_the_node_starts_alone_and_the_user_is_told(
    sameo_launch, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(
        "launch.logging.get_logger", lambda name: SimpleNamespace(warning=said.append)
    )
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    (node,) = start_nodes(sameo_launch, rviz="true")
    assert node.node_executable == "sameo_node"
    (sentence,) = said
    assert "RViz is not installed" in sentence
    assert "ros2 run sameo_ros sameo_view" in sentence


def test_rviz_shows_the_first_camera_in_the_frame_that_is_given(
    sameo_launch, tmp_path, monkeypatch
):
    for package, file in {
        "rviz2": "lib/rviz2/rviz2",
        "sameo_ros": "share/sameo_ros/config/sameo.rviz",
    }.items():
        path = tmp_path / file
        path.parent.mkdir(parents=True)
        path.write_text((ROOT / "config" / "sameo.rviz").read_text())
        marker = tmp_path / "share/ament_index/resource_index/packages" / package
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    shown = []
    monkeypatch.setattr(sameo_launch, "Node", lambda **given: shown.append(given))
    start_nodes(sameo_launch, rviz="true", cameras="left,right", rviz_frame="optical")
    (rviz,) = shown
    assert rviz["arguments"][-2:] == ["-f", "optical"]
    assert ("/sameo/overlay", "/sameo/left/overlay") in rviz["remappings"]


@pytest.mark.ros
def test_launching_to_build_only_ends_by_itself(tmp_path, capfd):
    find_executable()
    if cuda.unavailable_reason() is None:
        pytest.skip("this machine has a GPU")
    launched = start_launch(f"model:={make_tiny_bundle(tmp_path / 'tiny')}", "build_only:=true")
    assert launched.wait(60) == 0
    assert "sameo_build_engines: backend tensorrt cannot run here:" in "".join(capfd.readouterr())


def find_executable():
    """Skip the test unless the package is installed with its executables."""
    pytest.importorskip("launch_ros", reason=NEEDS_LAUNCH)
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        executable = Path(get_package_prefix("sameo_ros")) / "lib" / "sameo_ros" / "sameo_node"
    except PackageNotFoundError:
        executable = Path("nowhere")
    if not executable.is_file():
        pytest.skip("the package is not installed with its executables: colcon build")


def has_rviz():
    from ament_index_python.packages import get_packages_with_prefixes

    return "rviz2" in get_packages_with_prefixes()


def start_launch(*arguments, log=None, file="sameo.launch.py"):
    command = [sys.executable, "-c", START, str(ROOT / "launch" / file), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)


def interrupt(launched):
    """Send Ctrl-C as a terminal does, to launch and to what it started; return the exit status."""
    os.killpg(launched.pid, signal.SIGINT)
    return launched.wait(30)


@pytest.mark.ros
@pytest.mark.parametrize("lifecycle", ["false", "true"])
def test_a_launched_node_answers_on_the_topics_it_was_given(tmp_path, lifecycle):
    find_executable()
    from tests.sameo_ros.node_bench import Client, boxes_for

    launched = start_launch(
        f"model:={make_tiny_bundle(tmp_path / 'tiny')}",
        *("image:=/cam/image_raw", f"lifecycle:={lifecycle}", "visible:=false"),
        *("reliability:=reliable", "rviz:=true"),
        log=(tmp_path / "log").open("wb"),
    )
    client = Client("/cam/image_raw")
    try:
        client.until_active()
        client.until(client.send_and_find)
        assert client.state() == "active"
        image = client.image()
        message = client.answer(image, boxes_for(image, (16, 16, 48, 48)))
        assert message.masks[0].visible.image.width == 0
    finally:
        client.close()
        status = interrupt(launched)
    text = (tmp_path / "log").read_text()
    assert status == 0, text
    assert "[ERROR]" not in text
    assert ("RViz is not installed" in text) is (not has_rviz())


@pytest.mark.ros
def test_two_cameras_are_launched_by_their_names(tmp_path):
    find_executable()
    from tests.sameo_ros.node_bench import Client

    (tmp_path / "mine.yaml").write_text("/**: {ros__parameters: {cameras: 'left,right'}}")
    launched = start_launch(
        f"model:={make_tiny_bundle(tmp_path / 'tiny')}",
        *(f"config:={tmp_path / 'mine.yaml'}", "image:=/{camera}/rgb"),
    )
    client = Client("/left/rgb")
    try:
        client.until(lambda: client.node.count_subscribers("/left/rgb"))
        client.until(lambda: client.node.count_subscribers("/right/rgb"))
        client.until(lambda: client.node.count_publishers("/sameo/right/masks"))
    finally:
        client.close()
        assert interrupt(launched) == 0


@pytest.mark.ros
def test_the_demo_ends_when_its_replay_does(tmp_path):
    find_executable()
    model = make_tiny_bundle(tmp_path / "tiny")
    (tmp_path / "empty").mkdir()
    with (tmp_path / "log").open("wb") as log:
        launched = start_launch(
            f"model:={model}", f"images:={tmp_path / 'empty'}", log=log, file="demo.launch.py"
        )
        try:
            launched.wait(60)
        finally:
            if launched.poll() is None:
                interrupt(launched)
    text = (tmp_path / "log").read_text()
    assert "sameo_replay: " in text  # why
    assert "the demo ends because sameo_replay has ended" in text


@pytest.mark.ros
@pytest.mark.parametrize("given", [(), ("namespace:=arm", "image:=rgb")], ids=["plain", "named"])
def test_the_demo_answers_images_alone(tmp_path, given):
    find_executable()
    from sameo_ros.msg import AmodalMaskArray
    from tests.sameo_ros.node_bench import RELIABLE, Client

    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.full((64, 64, 3), 255, np.uint8))
    model = add_tiny_detector(make_tiny_bundle(tmp_path / "tiny"))
    launched = start_launch(
        *(f"model:={model}", f"images:={tmp_path / 'photos'}", "backend:=onnxruntime"),
        *given,
        file="demo.launch.py",
    )
    client = Client()
    masks = []
    topic = "/arm/sameo/masks" if given else "/sameo/masks"
    client.node.create_subscription(AmodalMaskArray, topic, masks.append, RELIABLE)
    try:
        client.until(lambda: masks)
    finally:
        client.close()
        assert interrupt(launched) == 0
    assert len(masks[0].masks) == 2


@pytest.mark.ros
def test_launch_activates_once_there_is_a_model_and_then_ends(tmp_path):
    find_executable()
    from tests.sameo_ros.node_bench import Client

    log = (tmp_path / "log").open("w+")
    launched = start_launch(f"model:={tmp_path / 'nothing'}", "lifecycle:=true", log=log)
    client = Client()
    try:
        client.until(lambda: client.values().get("level") == "2")
        client.spin(2.0)  # several diagnostics
        assert client.state() == "inactive"
        assert client.set(model=str(make_tiny_bundle(tmp_path / "tiny"))).successful
        client.until_active()
        client.until(lambda: client.state() == "active")
    finally:
        client.close()
        status = interrupt(launched)
        log.seek(0)
        text = log.read()
        log.close()
    assert status == 0, text
    assert "Traceback" not in text
