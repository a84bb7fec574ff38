"""Replay a folder of images to the node and show the result.

ros2 launch sameo_ros demo.launch.py images:=photos rviz:=true
"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.launch_description_entity import LaunchDescriptionEntity
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

import sameo_ros
from launch import LaunchContext, LaunchDescription
from sameo_ros.ros.launch_arguments import TOPICS

SCENES = Path(sameo_ros.__file__).parent / "demo_scenes"
# Fast DDS reads the second of these up to Jazzy, and complains of it from Kilted on.
PROFILES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
IS_OLD = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")


def generate_launch_description() -> LaunchDescription:
    """Start replay beside what sameo.launch.py starts; its arguments work here as well."""
    profile = Path(get_package_share_directory("sameo_ros")) / "config" / "fastdds.xml"
    return LaunchDescription(
        [
            # Without it most images are lost on the way on a busy machine.
            *(
                [SetEnvironmentVariable(PROFILES[IS_OLD], str(profile))]
                if not any(name in os.environ for name in PROFILES)
                else []
            ),
            DeclareLaunchArgument(
                "images",
                default_value=str(SCENES / "images"),
                description="Folder of images (default: rendered scenes).",
            ),
            DeclareLaunchArgument(
                "boxes",
                default_value="",
                description="Their boxes: amodal COCO or JSON. Empty: those of `detections`, if a "
                "topic is given, or else the node's own detector finds them.",
            ),
            DeclareLaunchArgument("rate", default_value="2.0", description="Images a second."),
            DeclareLaunchArgument(
                "detector_delay", default_value="0.1", description="Seconds the detector takes."
            ),
            OpaqueFunction(function=choose_detector),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(Path(__file__).parent / "sameo.launch.py")),
                launch_arguments=[("reliability", "reliable")],
            ),
            Node(
                package="sameo_ros",
                executable="sameo_replay",
                on_exit=OpaqueFunction(function=end),
                arguments=[
                    *("--images", LaunchConfiguration("images")),
                    *("--boxes", LaunchConfiguration("boxes")),
                    *("--rate", LaunchConfiguration("rate")),
                    *("--detector-delay", LaunchConfiguration("detector_delay")),
                    "--loop",
                ],
                namespace=LaunchConfiguration("namespace"),
                remappings=[(name, LaunchConfiguration(name)) for name in TOPICS],
                output="screen",
            ),
        ]
    )


def choose_detector(context: LaunchContext) -> None:
    """Let the node find the objects itself where nobody else sends boxes."""
    values = context.launch_configurations
    if not values["boxes"] and "detections" not in values and not values.get("detector"):
        values["detector"] = "builtin"


def end(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """End everything; launch_ros fails at a second shutdown, as after Ctrl-C."""
    if context.is_shutdown:
        return []
    return [LogInfo(msg="the demo ends because sameo_replay has ended"), Shutdown()]
