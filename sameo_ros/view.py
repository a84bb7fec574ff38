"""`python -m sameo_ros.view`: what the node publishes, for people without RViz.

Serves the overlay, the 3D boxes and the points of every node and camera that it finds to Foxglove
(https://app.foxglove.dev, or the desktop program): open the connection ws://localhost:8765 and
import config/foxglove.json. On a machine without a display `--record FILE.mcap` writes the same to
a file, to be opened elsewhere.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import sys
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Pose
from rclpy.node import Node
from sensor_msgs.msg import Image, PointCloud2
from visualization_msgs.msg import Marker, MarkerArray

from sameo_ros.ros.executable import read_arguments, ros_until_signal
from sameo_ros.ros.found_nodes import MASKS_TYPE, find_mask_sources

_LOOK_PERIOD_S = 0.5
_NUM_QUIET_LOOKS = 10


class ViewNode(Node):
    """Looks for nodes that publish masks, and logs what they show to Foxglove channels."""

    def __init__(self, foxglove: Any) -> None:
        """Open the channel of the diagnostics; those of the nodes are opened when they appear."""
        super().__init__("sameo_view")
        self._foxglove = foxglove
        self._shown: set[str] = set()
        self._num_looks = 0
        self._state = foxglove.Channel("/sameo/diagnostics", message_encoding="json")
        self.create_subscription(DiagnosticArray, "/diagnostics", self._show_state, 10)
        self.create_timer(_LOOK_PERIOD_S, self._look)

    def _look(self) -> None:
        """Show the nodes, and cameras of nodes, that are not shown yet."""
        for source in find_mask_sources(self):
            if source.prefix not in self._shown:
                self._shown.add(source.prefix)
                self._show(source.prefix)
        self._num_looks += 1
        if not self._shown and self._num_looks == _NUM_QUIET_LOOKS:
            self.get_logger().warning(f"no node publishes {MASKS_TYPE} yet; waiting for one")

    def _show(self, prefix: str) -> None:
        """Subscribe to the topics below a name, and open channels for them."""
        channels, names = self._foxglove.channels, channel_names(prefix)
        overlay = channels.RawImageChannel(names["overlay"])
        objects = channels.SceneUpdateChannel(names["markers"])
        points = channels.PointCloudChannel(names["points"])
        for kind, topic, log in (
            (Image, "overlay", lambda message: overlay.log(self._to_image(message))),
            (MarkerArray, "markers", lambda message: objects.log(self._to_scene(message))),
            (PointCloud2, "points", lambda message: points.log(self._to_cloud(message))),
        ):
            self.create_subscription(kind, f"{prefix}/{topic}", log, 1)
        self.get_logger().info(f"showing {prefix}")

    def _to_image(self, message: Image) -> Any:
        messages = self._foxglove.messages
        return messages.RawImage(
            timestamp=_to_time(messages, message.header.stamp),
            frame_id=message.header.frame_id,
            width=message.width,
            height=message.height,
            encoding=message.encoding,
            step=message.step,
            data=bytes(message.data),
        )

    def _to_scene(self, message: MarkerArray) -> Any:
        messages = self._foxglove.messages
        entities = [
            marker_to_entity(messages, marker)
            for marker in message.markers
            if marker.action == Marker.ADD
        ]
        deletion = messages.SceneEntityDeletion(type=messages.SceneEntityDeletionType.All)
        return messages.SceneUpdate(deletions=[deletion], entities=entities)

    def _to_cloud(self, message: PointCloud2) -> Any:
        messages = self._foxglove.messages
        kinds = messages.PackedElementFieldNumericType
        fields = [
            messages.PackedElementField(name=name, offset=4 * i, type=kinds.Float32)
            for i, name in enumerate(("x", "y", "z"))
        ]
        # The colour is packed as blue, green, red.
        fields += [
            messages.PackedElementField(name=name, offset=12 + i, type=kinds.Uint8)
            for i, name in enumerate(("blue", "green", "red"))
        ]
        return messages.PointCloud(
            timestamp=_to_time(messages, message.header.stamp),
            frame_id=message.header.frame_id,
            pose=_to_pose(messages, Pose()),
            point_stride=message.point_step,
            fields=fields,
            data=bytes(message.data),
        )

    def _show_state(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {pair.key: pair.value for pair in status.values}
            if "masks_published" in values:  # a node of ours, whatever its namespace
                self._state.log({"name": status.name, "message": status.message, **values})


def marker_to_entity(messages: Any, marker: Marker) -> Any:
    """Return a box or a text of RViz as an entity of Foxglove.

    Args:
        messages: The module foxglove.messages.
    """
    colour, pose = marker.color, _to_pose(messages, marker.pose)
    shade = messages.Color(r=colour.r, g=colour.g, b=colour.b, a=colour.a)
    shapes: dict[str, Any] = {}
    if marker.type == Marker.CUBE:
        size = messages.Vector3(x=marker.scale.x, y=marker.scale.y, z=marker.scale.z)
        shapes["cubes"] = [messages.CubePrimitive(pose=pose, size=size, color=shade)]
    else:
        shapes["texts"] = [
            messages.TextPrimitive(
                pose=pose, billboard=True, font_size=marker.scale.z, color=shade, text=marker.text
            )
        ]
    return messages.SceneEntity(
        timestamp=_to_time(messages, marker.header.stamp),
        frame_id=marker.header.frame_id,
        id=f"{marker.ns}/{marker.id}",
        **shapes,
    )


def _to_pose(messages: Any, pose: Pose) -> Any:
    place, turn = pose.position, pose.orientation
    return messages.Pose(
        position=messages.Vector3(x=place.x, y=place.y, z=place.z),
        orientation=messages.Quaternion(x=turn.x, y=turn.y, z=turn.z, w=turn.w),
    )


def _to_time(messages: Any, stamp: Any) -> Any:
    return messages.Timestamp(sec=stamp.sec, nsec=stamp.nanosec)


def channel_names(prefix: str) -> dict[str, str]:
    """Return the Foxglove channel of each topic of a node.

    Args:
        prefix: What the names of its topics begin with, such as /sameo.
    """
    shown = {"overlay": "overlay", "markers": "objects", "points": "points"}
    return {topic: f"{prefix}/{channel}" for topic, channel in shown.items()}


def main() -> int:
    """Serve until a signal comes; return the exit status."""
    options = read_arguments(build_parser())
    try:
        import foxglove
        import foxglove.channels
        import foxglove.messages

        close = _open_sink(foxglove, options)
    except ImportError:
        print(
            "view: the package foxglove-sdk is missing; run `pip install foxglove-sdk`, which the "
            "extra `view` of sameo_model names as well",
            file=sys.stderr,
        )
        return 1
    except OSError as error:
        print(f"view: {error}", file=sys.stderr)
        return 1
    try:
        with ros_until_signal():
            rclpy.spin(ViewNode(foxglove))
    finally:
        close()
    return 0


def _open_sink(foxglove: Any, options: argparse.Namespace) -> Any:
    """Open the file or the server that all channels go to; return what closes it."""
    if options.record is not None:
        if options.record.exists():
            raise FileExistsError(f"{options.record} exists already; remove it or name another")
        try:
            writer = foxglove.open_mcap(options.record)
        except OSError as error:
            raise OSError(f"cannot write {options.record}: {error}") from error
        print(f"Recording {options.record} until interrupted", flush=True)
        return writer.close
    try:
        server = foxglove.start_server(name="sameo", host=options.host, port=options.port)
    except (OSError, OverflowError, RuntimeError) as error:
        raise OSError(f"cannot serve on {options.host}:{options.port}: {error}") from error
    url = f"ws://{options.host}:{server.port}"
    print(f"Open {url} in Foxglove and import config/foxglove.json", flush=True)
    return server.stop


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sameo_ros.view",
        description="Serve overlay, 3D boxes, points and diagnostics to Foxglove, or record them.",
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8765, help="default: %(default)s")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write an MCAP file instead of serving"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
