"""Start the node: ros2 launch sameo_ros sameo.launch.py image:=/camera/image_raw rviz:=true.

Every parameter of the node is an argument; one that is not given keeps the value of the file
`config`, or else the node's own default. List them with --show-args.
"""

from pathlib import Path

import launch.logging
from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from diagnostic_msgs.msg import DiagnosticArray
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.events import matches_action
from launch.launch_description_entity import LaunchDescriptionEntity
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.ros_adapters import get_ros_node
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription
from sameo_ros.ros import launch_arguments
from sameo_ros.ros.launch_arguments import NODE, TOPICS, describe_parameters, resolve


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start what they ask for."""
    topics = [
        DeclareLaunchArgument(name, default_value=name, description=description)
        for name, description in TOPICS.items()
    ]
    parameters = [
        DeclareLaunchArgument(name, default_value="", description=description)
        for name, description in describe_parameters().items()
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
                "config",
                default_value="",
                description="YAML file with parameters, such as a copy of config/sameo.yaml.",
            ),
            DeclareLaunchArgument(
                "reliability",
                default_value="",
                description="QoS reliability of the node's inputs: best_effort or reliable. "
                "Empty: the file's qos_overrides, or else the node's own (best_effort).",
                choices=["", "best_effort", "reliable"],
            ),
            DeclareLaunchArgument(
                "lifecycle",
                default_value="false",
                description="true: launch configures the node, and activates it when the model is "
                "loaded; false: the node does so itself unless autostart:=false.",
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
                description="true: show the results of the first camera in RViz, in one window for "
                "each namespace.",
                choices=["true", "false"],
            ),
            DeclareLaunchArgument(
                "rviz_frame",
                default_value="",
                description="Fixed frame of RViz, such as the camera's optical frame. Empty: that "
                "of config/sameo.rviz (camera).",
            ),
            OpaqueFunction(function=start_nodes),
        ]
    )


def start_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Build what the values of the arguments ask for, for each namespace."""
    values = context.launch_configurations
    config = launch_arguments.find_config(values["config"])
    has_rviz = values["rviz"] == "true" and values["build_only"] == "false" and find_rviz()
    entities: list[LaunchDescriptionEntity] = []
    for namespace in values["namespace"].split(","):
        namespace = namespace.strip()
        cameras = launch_arguments.read_cameras(values["cameras"], config, resolve(namespace, NODE))
        remappings = launch_arguments.read_remappings(values, cameras)
        given = launch_arguments.read_parameters(
            values, cameras=cameras, namespace=namespace, topics=[topic for _, topic in remappings]
        )
        parameters = [given] if config is None else [str(config), given]
        if values["build_only"] == "true":
            entities.append(build_engines(parameters, namespace))
            continue
        node = LifecycleNode(
            package="sameo_ros",
            executable="sameo_node",
            name=NODE,
            namespace=namespace,
            parameters=parameters,
            remappings=remappings,
            output="screen",
        )
        entities.append(node)
        if values["lifecycle"] == "true":
            entities += activate_when_ready(node)
        if has_rviz:
            entities.append(show(namespace, cameras[0], values["rviz_frame"]))
    return entities


def build_engines(parameters: list[str | dict[str, object]], namespace: str) -> Node:
    """Return the process that builds what the node of these parameters would load."""
    return Node(
        package="sameo_ros",
        executable="sameo_build_engines",
        name=NODE,
        namespace=namespace,
        parameters=parameters,
        output="screen",
    )


def activate_when_ready(node: LifecycleNode) -> list[LaunchDescriptionEntity]:
    """Configure at once, then activate as soon as the diagnostics say that the model is loaded."""
    is_waiting = False

    def change(transition_id: int) -> ChangeState:
        return ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition_id)

    def watch(context: LaunchContext) -> None:
        def read(message: DiagnosticArray) -> None:
            nonlocal is_waiting
            if is_waiting and launch_arguments.is_ready(message, node.node_name):
                is_waiting = False
                event = change(Transition.TRANSITION_ACTIVATE)
                context.asyncio_loop.call_soon_threadsafe(context.emit_event_sync, event)

        get_ros_node(context).create_subscription(DiagnosticArray, "/diagnostics", read, 10)

    def wait(_: LaunchContext) -> None:
        nonlocal is_waiting
        is_waiting = True

    def wait_after(start_state: str) -> RegisterEventHandler:
        return RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state=start_state,
                goal_state="inactive",
                entities=[OpaqueFunction(function=wait)],
            )
        )

    return [
        wait_after("configuring"),
        wait_after("activating"),  # another model was asked for meanwhile
        OpaqueFunction(function=watch),
        EmitEvent(event=change(Transition.TRANSITION_CONFIGURE)),
    ]


def find_rviz() -> bool:
    """Tell whether RViz is installed, and the user if it is not."""
    try:
        found = (Path(get_package_prefix("rviz2")) / "lib" / "rviz2" / "rviz2").exists()
    except PackageNotFoundError:
        found = False
    if not found:
        launch.logging.get_logger("sameo").warning(
            "rviz:=true, but RViz is not installed, so the node starts without it; install "
            "the package ros-<distribution>-rviz2, or see the results with "
            "`ros2 run sameo_ros sameo_view`"
        )
    return found


def show(namespace: str, camera: str, frame: str) -> Node:
    """Start RViz for a camera of the node in a namespace."""
    config = Path(get_package_share_directory("sameo_ros")) / "config" / "sameo.rviz"
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=namespace,
        arguments=["-d", str(config), *(["-f", frame] if frame else [])],
        remappings=launch_arguments.rviz_remappings(config, namespace, camera),
    )
