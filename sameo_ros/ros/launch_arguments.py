"""What the launch files make of their arguments: cameras, topics and parameters.

Nothing here imports launch or rclpy.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from sameo_ros.core.settings import SameoParameters
from sameo_ros.ros.parameters import describe_parameter

TOPICS = {
    "image": "Camera images; with image_transport:=compressed, /compressed is appended. "
    "With several cameras the camera's name replaces {camera} in this and the other topics, as in "
    "/{camera}/color/image_raw; a relative name without {camera} becomes left/image.",
    "detections": "Boxes, vision_msgs/Detection2DArray or yolo_msgs/DetectionArray, with the "
    "stamps of the images.",
    "depth": "Depth registered to the images, for 3D boxes.",
    "camera_info": "Calibration of the images, for 3D boxes.",
}
NODE = "sameo"
_PARAMETERS = "ros__parameters"


def describe_parameters() -> dict[str, str]:
    """Return for each parameter of the node what it means, its default and its range."""
    return {one.name: describe_parameter(one) for one in dataclasses.fields(SameoParameters)}


def find_config(given: str) -> Path | None:
    """Return the parameter file that was given, or None.

    Args:
        given: Value of the argument `config`, "" without; ~ is the home folder.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not given:
        return None
    path = Path(given).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"config must name a YAML file with parameters; {path} is no file")
    return path


def read_cameras(given: str, config: Path | None, node_name: str) -> list[str]:
    """Return the names of the cameras, [""] for a single one without a name.

    Args:
        given: Value of the argument `cameras`: `left`, `left,right`, `[left, right]` or `[]`; ""
            leaves the choice to the file.
        config: The parameter file, if any.
        node_name: Full name of the node, /namespace/sameo.

    Raises:
        ValueError: If a name cannot be one, or the file cannot be read.
    """
    value: Any = given.strip()
    if not value and config is not None:
        value = read_file_parameter(config, node_name, "cameras")
    elif value.startswith("["):
        try:
            value = yaml.load(value, yaml.BaseLoader)  # on and off are names
        except yaml.YAMLError as error:
            raise ValueError(f"cameras must be a list such as [left,right]; got {given}") from error
    return list(SameoParameters().changed({"cameras": value}).cameras)


def read_file_parameter(path: Path, node_name: str, parameter: str) -> Any:
    """Return what a ROS parameter file says about a parameter of a node, None if nothing.

    Args:
        node_name: Full name of the node, beginning with /.

    Raises:
        ValueError: If the file is no YAML mapping.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"config {path} must be YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise ValueError(f"config {path} must hold parameters below the names of nodes or /**")
    value = None
    for pattern, parameters in _sections(content):
        if re.fullmatch(_to_regex(pattern), node_name) and parameter in parameters:
            value = parameters[parameter]  # as in ROS the last one counts
    return value


def read_remappings(topics: Mapping[str, str], cameras: Sequence[str]) -> list[tuple[str, str]]:
    """Return the node's names of its topics and those that they are given, for each camera.

    Args:
        topics: Given name of each of `TOPICS`; others are ignored.
        cameras: Names of the cameras, [""] for a single one.

    Raises:
        ValueError: If two of the node's topics get the same name.
    """
    remappings = []
    for camera in cameras:
        below = f"{camera}/" if camera else ""
        for topic in TOPICS:
            given = topics[topic]
            is_whole = given.startswith("/") or "{camera}" in given
            given = given.replace("{camera}", camera) if is_whole else below + given
            remappings.append((below + topic, given))
    names = [given for _, given in remappings]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"topic {name} is given twice; with several cameras, its name needs {{camera}}"
            )
    return remappings


def read_parameters(
    values: Mapping[str, str], *, cameras: Sequence[str], namespace: str, topics: Iterable[str]
) -> dict[str, Any]:
    """Return the parameters that override those of the file.

    Args:
        values: Values of the launch arguments, "" where none was given.
        cameras: Names of the cameras, as `read_cameras` returns them.
        topics: Names that the node's inputs are given.
    """
    given: dict[str, Any] = {
        one.name: values[one.name]
        if isinstance(one.default, str)
        else yaml.safe_load(values[one.name])
        for one in dataclasses.fields(SameoParameters)
        if values[one.name]
    }
    given["cameras"] = list(cameras)
    if values["lifecycle"] == "true":
        given["autostart"] = False
    if values["reliability"]:
        # The topic of compressed images ends so; a name that the node does not use is harmless.
        for topic in topics:
            for name in (resolve(namespace, topic), resolve(namespace, f"{topic}/compressed")):
                given[f"qos_overrides.{name}.subscription.reliability"] = values["reliability"]
    return given


def rviz_remappings(config: Path, namespace: str, camera: str) -> list[tuple[str, str]]:
    """Return RViz's names of the node's topics and those of one camera in a namespace.

    Args:
        config: The RViz configuration, made for a node in no namespace and a single camera.
        camera: Name of the camera, "" for a single one.
    """
    displays = yaml.safe_load(config.read_text())["Visualization Manager"]["Displays"]
    topics = [display["Topic"]["Value"] for display in displays if "Topic" in display]
    below = f"{NODE}/{camera}" if camera else NODE
    return [
        (topic, resolve(namespace, f"{below}/{topic.rpartition('/')[2]}"))
        for topic in topics
        if topic.startswith(f"/{NODE}/")
    ]


def resolve(namespace: str, name: str) -> str:
    """Return the full name of a topic, or of a node, in a namespace."""
    if name.startswith("/"):
        return name
    return "/" + "/".join(part for part in (namespace.strip("/"), name) if part)


def is_ready(message: Any, node_name: str) -> bool:
    """Tell whether diagnostics say that a node has loaded its model and waits to be activated.

    Args:
        message: A diagnostic_msgs/DiagnosticArray.
    """
    for status in message.status:
        values = {pair.key: pair.value for pair in status.values}
        if status.name.startswith(f"{node_name.strip('/')}: "):
            is_error = bytes(status.level) == b"\x02"
            return bool(values.get("model")) and not is_error
    return False


def _sections(
    content: Mapping[Any, Any], name: str = ""
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the node name, wildcards included, and the parameters of each section of a file."""
    for key, value in content.items():
        if not isinstance(value, Mapping):
            continue
        if key == _PARAMETERS:
            yield name, value
        else:
            yield from _sections(value, f"{name}/{str(key).strip('/')}")


def _to_regex(pattern: str) -> str:
    """Turn a node name of a parameter file into a regular expression: * one name, ** any number."""
    wildcards = {"*": r"/\w+", "**": r"(/\w+)*"}
    parts = [part for part in pattern.split("/") if part]
    return "".join(wildcards.get(part, "/" + re.escape(part)) for part in parts)
