"""Replay a folder of pictures to the node and show the result.

ros2 launch sameo_ros demo.launch.py images:=photos boxes:=boxes.json rviz:=true
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

import sameo_ros
from launch import LaunchDescription

SCENES = Path(sameo_ros.__file__).parent / "demo_scenes"


def generate_launch_description() -> LaunchDescription:
    """Start replay beside what sameo.launch.py starts; its arguments work here as well."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "images",
                default_value=str(SCENES / "images"),
                description="Folder of pictures (default: rendered scenes).",
            ),
            DeclareLaunchArgument(
                "boxes",
                default_value=str(SCENES / "annotations.json"),
                description="Their boxes: amodal COCO or JSON.",
            ),
            DeclareLaunchArgument("rate", default_value="2.0", description="Pictures a second."),
            DeclareLaunchArgument(
                "detector_delay", default_value="0.1", description="Seconds the detector takes."
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(Path(__file__).parent / "sameo.launch.py")),
                # On a busy machine most best-effort images of the replay would be lost.
                launch_arguments=[("reliability", "reliable")],
            ),
            Node(
                package="sameo_ros",
                executable="sameo_replay",
                arguments=[
                    *("--images", LaunchConfiguration("images")),
                    *("--boxes", LaunchConfiguration("boxes")),
                    *("--rate", LaunchConfiguration("rate")),
                    *("--detector-delay", LaunchConfiguration("detector_delay")),
                    "--loop",
                ],
                output="screen",
            ),
        ]
    )
