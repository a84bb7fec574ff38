"""Start the node: ros2 launch sameo_ros sameo.launch.py image:=/camera/image_raw rviz:=true.

Every parameter of the node is an argument; one that is not given keeps the value of the file
`config`, or else the node's own default. List them with --show-args.
"""

import dataclasses
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    TimerAction,
)
from launch.events import matches_action
from launch.launch_description_entity import LaunchDescriptionEntity
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription
from sameo_ros.core.settings import SameoParameters

TOPICS = {
    "image": "Camera images; with image_transport:=compressed, /compressed is appended. "
    "With several cameras this and the other topics lie below the name of each camera, or have "
    "{camera} in its place, as in /{camera}/color/image_raw.",
    "detections": "Boxes, vision_msgs/Detection2DArray, under the stamps of the images.",
    "depth": "Depth registered to the images, for 3D boxes.",
    "camera_info": "Calibration of the images, for 3D boxes.",
}
OUTPUTS = ("overlay", "markers", "points")
RETRY_PERIOD_S = 0.5


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start what they ask for."""
    topics = [
        DeclareLaunchArgument(name, default_value=name, description=description)
        for name, description in TOPICS.items()
    ]
    parameters = [
        DeclareLaunchArgument(one.name, default_value="", description=one.metadata["description"])
        for one in dataclasses.fields(SameoParameters)
    ]
    return LaunchDescription(
        [
            *topics,
            *parameters,
            DeclareLaunchArgument(
                "namespace",
                default_value="",
                description="Namespace of the node; left,right starts one node in each.",
            ),
            DeclareLaunchArgument(
                "config", default_value="", description="YAML file with parameters."
            ),
            DeclareLaunchArgument(
                "reliability",
                default_value="",
                description="best_effort or reliable: what the node asks of the publishers of its "
                "topics. Empty: the file's qos_overrides, or else the node's own.",
                choices=["", "best_effort", "reliable"],
            ),
            DeclareLaunchArgument(
                "lifecycle",
                default_value="false",
                description="true: launch configures and activates the node by events; "
                "false: the node does so itself unless autostart:=false.",
                choices=["true", "false"],
            ),
            DeclareLaunchArgument(
                "build_only",
                default_value="false",
                description="true: build the TensorRT engines of the model into cache_dir, show "
                "the progress, and end; the node then starts without a build.",
                choices=["true", "false"],
            ),
            DeclareLaunchArgument(
                "rviz",
                default_value="false",
                description="true: show the results in RViz, one window for each namespace.",
                choices=["true", "false"],
            ),
            OpaqueFunction(function=start_nodes),
        ]
    )


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Build what the values of the arguments ask for, for each namespace."""
    values = context.launch_configurations
    entities: list[LaunchDescriptionEntity] = []
    remappings = read_remappings(values)
    topics = [topic for _, topic in remappings]
    for namespace in values["namespace"].split(","):
        if values["build_only"] == "true":
            entities.append(build_engines(read_parameters(values, namespace, topics), namespace))
            continue
        node = LifecycleNode(
            package="sameo_ros",
            executable="sameo_node",
            name="sameo",
            namespace=namespace,
            parameters=read_parameters(values, namespace, topics),
            remappings=remappings,
            output="screen",
        )
        entities.append(node)
        if values["lifecycle"] == "true":
            entities += activate_by_events(node)
        if values["rviz"] == "true":
            entities.append(show(namespace))
    return entities


def build_engines(parameters: list[str | dict[str, object]], namespace: str) -> Node:
    """Return the process that builds what the node of these parameters would load."""
    return Node(
        package="sameo_ros",
        executable="sameo_build_engines",
        name="sameo",
        namespace=namespace,
        parameters=parameters,
        output="screen",
    )


def read_remappings(values: dict[str, str]) -> list[tuple[str, str]]:
    """Return the node's names of its topics and those that they are given, for each camera."""
    remappings = []
    for camera in yaml.safe_load(values["cameras"] or "['']"):
        below = f"{camera}/" if camera else ""
        for topic in TOPICS:
            given = values[topic]
            is_whole = given.startswith("/") or "{camera}" in given
            given = given.replace("{camera}", camera) if is_whole else below + given
            remappings.append((below + topic, given))
    names = [given for _, given in remappings]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"topic {name} is given twice; with several cameras, name {{camera}}")
    return remappings


def read_parameters(
    values: dict[str, str], namespace: str, topics: list[str]
) -> list[str | dict[str, object]]:
    """Return the parameter file, if any, and the arguments that were given."""
    given = {
        one.name: yaml.safe_load(values[one.name])
        if not isinstance(one.default, str)
        else values[one.name]
        for one in dataclasses.fields(SameoParameters)
        if values[one.name]
    }
    if values["lifecycle"] == "true":
        given["autostart"] = False
    if values["reliability"]:
        # The topic of compressed images ends so; a name that the node does not use is harmless.
        for topic in [*topics, *(f"{topic}/compressed" for topic in topics)]:
            name = f"qos_overrides.{resolve(namespace, topic)}.subscription.reliability"
            given[name] = values["reliability"]
    files = [values["config"]] if values["config"] else []
    return [*files, given]


def activate_by_events(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Configure at once, then activate; again after a while as long as the model still loads."""

    def change(transition_id: int) -> EmitEvent:
        matcher = matches_action(node)
        return EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition_id)
        )

    def activate_later(_: LaunchContext) -> list[LaunchDescriptionEntity]:
        activate = change(Transition.TRANSITION_ACTIVATE)
        return [TimerAction(period=RETRY_PERIOD_S, actions=[activate])]

    def activate_after(start_state: str) -> RegisterEventHandler:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state=start_state,
                goal_state="inactive",
                # A timer serves once, so that each attempt takes a new one.
                entities=[OpaqueFunction(function=activate_later)],
            )
        )

    return [
        activate_after("configuring"),
        activate_after("activating"),
        change(Transition.TRANSITION_CONFIGURE),
    ]


def show(namespace: str) -> Node:
    """Start RViz for the node in a namespace."""
    config = Path(get_package_share_directory("sameo_ros")) / "config" / "sameo.rviz"
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace,
        arguments=["-d", str(config)],
        remappings=[(f"/sameo/{name}", resolve(namespace, f"sameo/{name}")) for name in OUTPUTS],
    )


def resolve(namespace: str, topic: str) -> str:
    """Return the full name of a topic of a node in a namespace."""
    if topic.startswith("/"):
        return topic
    return "/" + "/".join(part for part in (namespace.strip("/"), topic) if part)
