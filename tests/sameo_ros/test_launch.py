"""The launch files: compiled everywhere, started where launch_ros is installed."""

import dataclasses
import importlib.util
import py_compile
import signal
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest
import yaml

from sameo_model.runtime.backends import cuda
from sameo_ros.core.settings import SameoParameters
from tests.bundles import make_tiny_bundle
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
    names = {one.name for one in dataclasses.fields(SameoParameters)}
    topics = {"image", "detections", "depth", "camera_info"}
    own = {"namespace", "config", "reliability", "lifecycle", "build_only", "rviz"}
    assert set(defaults) == names | topics | own
    assert {defaults[name] for name in names} == {""}
    assert all(argument.description for argument in arguments)


@pytest.fixture(scope="module")
def sameo_launch():
    """The module launch/sameo.launch.py."""
    pytest.importorskip("launch_ros", reason=NEEDS_LAUNCH)
    path = str(ROOT / "launch" / "sameo.launch.py")
    spec = importlib.util.spec_from_loader("sameo_launch", SourceFileLoader("sameo_launch", path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def topics_of(sameo_launch, **values):
    given = dict.fromkeys(sameo_launch.TOPICS, "unused") | {"depth": "d", "camera_info": "i"}
    remappings = sameo_launch.read_remappings({**given, "cameras": "", "detections": "b", **values})
    return {name: topic for name, topic in remappings if name.endswith("image")}


@pytest.mark.parametrize(
    ("image", "topics"),
    [
        ("image_raw", {"left/image": "left/image_raw", "right/image": "right/image_raw"}),
        ("/{camera}/rgb", {"left/image": "/left/rgb", "right/image": "/right/rgb"}),
        ("cam_{camera}", {"left/image": "cam_left", "right/image": "cam_right"}),
    ],
)
def test_every_camera_gets_its_topics(sameo_launch, image, topics):
    assert topics_of(sameo_launch, image=image, cameras="[left, right]") == topics


def test_one_camera_gets_the_topic_as_it_is_given(sameo_launch):
    assert topics_of(sameo_launch, image="/camera/image_raw") == {"image": "/camera/image_raw"}


def test_two_cameras_on_one_topic_are_refused(sameo_launch):
    with pytest.raises(ValueError, match="topic /rgb is given twice"):
        topics_of(sameo_launch, image="/rgb", cameras="[left, right]")


@pytest.mark.parametrize(
    ("namespace", "topic", "name"),
    [("", "image", "/image"), ("arm/", "image", "/arm/image"), ("arm", "/image", "/image")],
)
def test_reliability_is_asked_for_under_the_full_name(sameo_launch, namespace, topic, name):
    values = {one.name: "" for one in dataclasses.fields(SameoParameters)}
    values |= {"lifecycle": "false", "reliability": "reliable", "config": ""}
    (given,) = sameo_launch.read_parameters(values, namespace, [topic])
    assert given[f"qos_overrides.{name}.subscription.reliability"] == "reliable"


def test_building_only_starts_the_builder_with_the_nodes_parameters(sameo_launch):
    import launch

    context = launch.LaunchContext()
    given = {one.name: "" for one in dataclasses.fields(SameoParameters)}
    given |= dict.fromkeys(sameo_launch.TOPICS, "unused") | {"depth": "d", "camera_info": "i"}
    given |= {"detections": "b", "lifecycle": "true", "reliability": "", "rviz": "true"}
    given |= {"namespace": "left,right", "config": "mine.yaml", "model": "mine"}
    context.launch_configurations.update(given | {"build_only": "true"})
    builders = sameo_launch.start_nodes(context)
    assert [builder.node_executable for builder in builders] == ["sameo_build_engines"] * 2
    # The very file and values that the node gets.
    assert sameo_launch.read_parameters(given, "left", [])[0] == "mine.yaml"
    assert sameo_launch.read_parameters(given, "left", [])[1]["model"] == "mine"
    context.launch_configurations["build_only"] = "false"
    assert sameo_launch.start_nodes(context)[0].node_executable == "sameo_node"


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


def start_launch(*arguments, log=None):
    command = [sys.executable, "-c", START, str(ROOT / "launch" / "sameo.launch.py"), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


@pytest.mark.ros
@pytest.mark.parametrize("lifecycle", ["false", "true"])
def test_a_launched_node_answers_on_the_topics_it_was_given(tmp_path, lifecycle):
    find_executable()
    from tests.sameo_ros.node_bench import Client, boxes_for

    launched = start_launch(
        f"model:={make_tiny_bundle(tmp_path / 'tiny')}",
        *("image:=/cam/image_raw", f"lifecycle:={lifecycle}", "visible:=false"),
        "reliability:=reliable",
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
        # SIGTERM would leave the node behind.
        launched.send_signal(signal.SIGINT)
        launched.wait(30)


@pytest.mark.ros
def test_launch_tries_again_until_there_is_a_model_and_then_ends(tmp_path):
    find_executable()
    from tests.sameo_ros.node_bench import Client

    log = (tmp_path / "log").open("w+")
    launched = start_launch(f"model:={tmp_path / 'nothing'}", "lifecycle:=true", log=log)
    client = Client()
    try:
        client.until(lambda: client.values().get("level") == "2")
        client.spin(2.0)  # several attempts
        assert client.state() == "inactive"
        assert client.set(model=str(make_tiny_bundle(tmp_path / "tiny"))).successful
        client.until_active()
        client.until(lambda: client.state() == "active")
    finally:
        client.close()
        launched.send_signal(signal.SIGINT)
        status = launched.wait(30)
        log.seek(0)
        text = log.read()
        log.close()
    assert status == 0, text
    assert "Traceback" not in text
