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
from launch.conditions import IfCondition
from launch.events import matches_action
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription
from sameo_ros.parameters import SameoParameters

TOPICS = {
    "image": "Camera images; with image_transport:=compressed, /compressed is appended.",
    "detections": "Boxes, vision_msgs/Detection2DArray, under the stamps of the images.",
    "depth": "Depth registered to the images, for 3D boxes.",
    "camera_info": "Calibration of the images, for 3D boxes.",
}
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
                "namespace", default_value="", description="Namespace, one for each camera's node."
            ),
            DeclareLaunchArgument(
                "config", default_value="", description="YAML file with parameters."
            ),
            DeclareLaunchArgument(
                "lifecycle",
                default_value="false",
                description="true: launch configures and activates the node by events; "
                "false: the node does so itself unless autostart:=false.",
            ),
            DeclareLaunchArgument(
                "rviz", default_value="false", description="true: show the results in RViz."
            ),
            OpaqueFunction(function=start_node),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(share_folder() / "config" / "sameo.rviz")],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )


def start_node(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Build the node from the values that the arguments have now."""
    by_events = context.launch_configurations["lifecycle"].lower() in ("true", "1")
    node = LifecycleNode(
        package="sameo_ros",
        executable="sameo_node",
        name="sameo",
        namespace=context.launch_configurations["namespace"],
        parameters=read_parameters(context.launch_configurations, by_events=by_events),
        remappings=[(name, context.launch_configurations[name]) for name in TOPICS],
        output="screen",
    )
    return [node, *activate_by_events(node)] if by_events else [node]


def read_parameters(values: dict[str, str], *, by_events: bool) -> list[str | dict[str, object]]:
    """Return the parameter file, if any, and the arguments that were given."""
    given = {
        one.name: yaml.safe_load(values[one.name])
        if not isinstance(one.default, str)
        else values[one.name]
        for one in dataclasses.fields(SameoParameters)
        if values[one.name]
    }
    if by_events:
        given["autostart"] = False
    files = [values["config"]] if values["config"] else []
    return [*files, given]


def activate_by_events(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Configure at once, then activate; again after a while as long as the model still loads."""

    def change(transition_id: int) -> EmitEvent:
        matcher = matches_action(node)
        return EmitEvent(
            event=ChangeState(lifecycle_node_matcher=matcher, transition_id=transition_id)
        )

    def activate_after(start_state: str) -> RegisterEventHandler:
        activate = change(Transition.TRANSITION_ACTIVATE)
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state=start_state,
                goal_state="inactive",
                entities=[TimerAction(period=RETRY_PERIOD_S, actions=[activate])],
            )
        )

    return [
        activate_after("configuring"),
        activate_after("activating"),
        change(Transition.TRANSITION_CONFIGURE),
    ]


def share_folder() -> Path:
    """Return the folder with the installed configuration."""
    return Path(get_package_share_directory("sameo_ros"))
