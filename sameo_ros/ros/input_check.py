"""Looks for the causes why masks, or objects in 3D, do not come; for each camera."""

from __future__ import annotations

import os
import time
from typing import Any

from rclpy.utilities import get_rmw_implementation_identifier

from sameo_ros.core.clock_causes import explain_clock
from sameo_ros.core.input_watch import Arrivals
from sameo_ros.core.pairing_causes import PAIRING_KINDS, explain_pairing
from sameo_ros.core.settings import SameoParameters
from sameo_ros.core.topic_causes import (
    TopicView,
    explain_jumps,
    explain_repeats,
    explain_silence,
    is_silent,
)
from sameo_ros.ros.camera_topics import CameraTopics
from sameo_ros.ros.diagnostics import describe_qos_conflict
from sameo_ros.ros.topic_views import find_subscriber_conflict, view_topic
from sameo_ros.ros.transport import describe_transport

_MIN_PERIOD_S = 1.0
_GRACE_PERIODS = 1.0
_MEMORY_S = 5.0


class InputCheck:
    """Notes the causes in the cameras' records, as long as they last.

    Call `look` at every diagnostic period: each cause is named within two of them.
    """

    def __init__(self, node: Any) -> None:
        """Look at a node."""
        self._node = node
        self._looked_s: dict[str, float] = {}

    def look(self, topics: CameraTopics, settings: SameoParameters) -> None:
        """Look at a camera that is subscribed; at most twice a second."""
        now_s = time.monotonic()
        name = topics.record.name
        if now_s - self._looked_s.get(name, -1.0) < _MIN_PERIOD_S / 2:
            return
        self._looked_s[name] = now_s
        self._check_images_and_boxes(topics, settings, now_s)
        self._check_clock(topics, now_s)
        self._check_3d(topics, settings, now_s)
        self._check_outputs(topics, now_s)

    def _check_images_and_boxes(
        self, topics: CameraTopics, settings: SameoParameters, now_s: float
    ) -> None:
        problems, watch = topics.record.problems, topics.watch
        transport = describe_transport(os.environ, get_rmw_implementation_identifier())
        name = topics.inputs["image"].topic_name
        causes = explain_pairing(watch, settings, now_s, image_topic=name, transport=transport)
        silence = self._explain(topics, "image", watch.images, settings, now_s)
        if "images_lost" in causes and silence:
            view = self._view(topics, "image")
            if any(one.type == view.type and not one.conflict for one in view.publishers):
                silence = ""  # they are sent: the detector has them
            else:
                causes = {}
        problems.update("image_topic", silence, now_s)
        for kind in PAIRING_KINDS:
            problems.update(kind, causes.get(kind, ""), now_s)
        sentence = ""
        # The built-in detector is silent only when the images are, or when the model is slow.
        if settings.detector == "topic":
            sentence = self._explain(topics, "detections", watch.boxes, settings, now_s)
        problems.update("detections_topic", sentence, now_s)
        for kind, arrivals, name, explain in (
            ("jump", watch.jumps, "image", explain_jumps),
            ("repeated_boxes", watch.repeats, "detections", explain_repeats),
        ):
            number = arrivals.count(now_s - _MEMORY_S, now_s)
            sentence = explain(self._view(topics, name), number) if number else ""
            problems.update(kind, sentence, now_s)

    def _check_clock(self, topics: CameraTopics, now_s: float) -> None:
        image = topics.watch.latest_image
        sentence = explain_clock(
            image.transit_s if image else None,
            image.stamp_ns if image else 0,
            self._node.get_clock().now().nanoseconds,
            use_sim_time=bool(self._node.get_parameter("use_sim_time").value),
        )
        topics.record.problems.update("clock", sentence, now_s)

    def _check_3d(self, topics: CameraTopics, settings: SameoParameters, now_s: float) -> None:
        arrivals = {"depth": topics.watch.depth, "camera_info": topics.watch.camera_info}
        for name, arrived in arrivals.items():
            sentence = ""
            is_known = name == "camera_info" and topics.objects.has_camera_info
            if topics.objects.is_wanted and not is_known:
                sentence = self._explain(topics, name, arrived, settings, now_s)
            topics.record.problems.update(f"{name}_topic", sentence, now_s)

    def _check_outputs(self, topics: CameraTopics, now_s: float) -> None:
        for output, publisher in {**topics.outputs, **topics.objects.outputs}.items():
            sentence = ""
            name = publisher.topic_name
            if publisher.get_subscription_count() < self._node.count_subscribers(name):
                policy = find_subscriber_conflict(self._node, publisher)
                sentence = policy and describe_qos_conflict(name, "publisher", policy)
            topics.record.problems.update(f"qos_{output}", sentence, now_s)

    def _view(self, topics: CameraTopics, name: str) -> TopicView:
        own_name = f"{topics.record.name}/{name}" if topics.record.name else name
        subscription = {**topics.inputs, **topics.objects.inputs}[name]
        return view_topic(self._node, subscription, own_name)

    def _explain(
        self,
        topics: CameraTopics,
        name: str,
        arrivals: Arrivals,
        settings: SameoParameters,
        now_s: float,
    ) -> str:
        """Say why an input is silent; the graph is asked only then."""
        grace_s = _GRACE_PERIODS * max(settings.diagnostics_period_s, _MIN_PERIOD_S)
        if not is_silent(arrivals, now_s, grace_s):
            return ""
        return explain_silence(self._view(topics, name), arrivals, now_s)
