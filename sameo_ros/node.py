"""The lifecycle node `sameo`: images and boxes in, amodal masks out.

The executor's callbacks only store messages; the worker's thread runs the model and publishes.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":  # Ctrl-C during the imports ends without a traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from std_srvs.srv import SetBool

from sameo_ros.core.camera import CameraRecord
from sameo_ros.core.model_loading import ModelState
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.settings import SettingsHolder
from sameo_ros.core.statistics import Statistics
from sameo_ros.core.worker import WORKER_THREAD, Worker
from sameo_ros.ros.camera_topics import CameraTopics
from sameo_ros.ros.diagnostics import (
    DiagnosticTypes,
    NodeStatus,
    fill_diagnostics,
    forward_logs,
    say_why,
)
from sameo_ros.ros.executable import ros_until_signal
from sameo_ros.ros.input_check import InputCheck
from sameo_ros.ros.parameters import declare_parameters, describe_undeclared
from sameo_ros.ros.topic_node import TopicNode
from sameo_ros.ros.transport import use_large_socket_buffers

_AUTOSTART_PERIOD_S = 0.05
_FOLLOW_PERIOD_S = 0.5
_REPEAT_S = 2.0
_DIAGNOSTIC_TYPES = DiagnosticTypes(DiagnosticStatus, KeyValue)

_say_why = say_why(TransitionCallbackReturn.ERROR)


class SameoNode(TopicNode):
    """Answers each Detection2DArray with the amodal masks of its boxes.

    Attributes:
        failure: Why a transition failed since the node was configured last, "" if none did.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters and start diagnostics; transitions do the rest.

        Args:
            kwargs: Arguments of rclpy's LifecycleNode but for the name.

        Raises:
            ValueError: If a parameter has a value that it cannot have.
        """
        super().__init__("sameo", **kwargs)
        self.failure = ""
        self._settings = SettingsHolder(declare_parameters(self))
        self._warn_of_undeclared(of_topics=False)
        self.add_on_set_parameters_callback(self._change_settings)
        self._records = [
            CameraRecord(name, Statistics(), ProblemLog(self.warn, name))
            for name in self._settings.current.cameras
        ]
        self._worker = Worker(self._settings)
        self._cameras: list[CameraTopics] = []
        self._check = InputCheck(self)
        self._is_active = False
        self._is_enabled = True
        self.create_service(SetBool, "~/enable", self._enable)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        # With use_sim_time the node's clock stands still until a /clock comes, and jumps with it.
        clock = Clock(clock_type=ClockType.STEADY_TIME)
        period_s = self._settings.current.diagnostics_period_s
        self.create_timer(period_s, self._publish_diagnostics, clock=clock)
        self.create_timer(_FOLLOW_PERIOD_S, self._follow_detectors, clock=clock)
        if self._settings.current.autostart:
            self._autostart = self.create_timer(
                _AUTOSTART_PERIOD_S, self._continue_start, clock=clock
            )

    @_say_why
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Create publishers and the service, and begin to load the model in the background."""
        self.failure = ""
        self._worker = Worker(self._settings)
        settings = self._settings.current
        for record in self._records:
            topics = CameraTopics(
                self,
                self._worker,
                record,
                compressed=settings.image_transport == "compressed",
                detections_type=settings.detections_type,
                has_detector=settings.detector == "builtin",
            )
            self._cameras.append(topics)
        self._worker.start()
        return super().on_configure(state)

    @_say_why
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe, if the model is ready."""
        model = self._worker.model
        if model.state is not ModelState.READY:
            reason = f"cannot activate: {self._worker.describe()}"
            self.get_logger().error(reason, throttle_duration_sec=_REPEAT_S)
            return TransitionCallbackReturn.FAILURE
        super().on_activate(state)
        self._is_active = True
        if self._is_enabled:
            self._begin()
        self.get_logger().info(f"active with model {model.name} on {model.backend}")
        return TransitionCallbackReturn.SUCCESS

    @_say_why
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe; boxes that wait are dropped, the current answer is not published."""
        self._is_active = False
        self._end()
        return super().on_deactivate(state)

    @_say_why
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model, publishers and service."""
        self.close()
        return super().on_cleanup(state)

    @_say_why
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, from any state."""
        self.close()
        return super().on_shutdown(state)

    @_say_why
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything, so that the node can be configured again."""
        self.get_logger().error("a transition failed; the node is unconfigured now")
        self.close()
        return super().on_error(state)

    def close(self) -> None:
        """Free what configure and activate made."""
        self._is_active = False
        self._worker.stop()
        for topics in self._cameras:
            topics.destroy()
        self._cameras.clear()
        for record in self._records:
            record.problems.resolve_all()
        self._worker = Worker(self._settings)

    def _begin(self) -> None:
        """Subscribe and answer."""
        self._worker.activate([topics.camera for topics in self._cameras])
        for topics in self._cameras:
            topics.subscribe()
        self._warn_of_undeclared(of_topics=True)

    def _end(self) -> None:
        """Unsubscribe; boxes that wait are dropped."""
        for topics in self._cameras:
            topics.unsubscribe()
        self._worker.deactivate()

    def _enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        """Answer, or stop answering, without a change of the lifecycle state."""
        is_change = request.data != self._is_enabled
        self._is_enabled = request.data
        if self._is_active and is_change:
            (self._begin if request.data else self._end)()
        response.success = True
        what = "enabled" if request.data else "disabled"
        response.message = what if self._is_active else f"{what}, from the next activation on"
        return response

    def _follow_detectors(self) -> None:
        for topics in self._cameras:
            topics.follow_detector()

    def _warn_of_undeclared(self, *, of_topics: bool) -> None:
        settings, unread = self._settings.current, []
        if settings.detector == "builtin":
            names = [f"{name}/detections" if name else "detections" for name in settings.cameras]
            unread = [self.resolve_topic_name(name) for name in names]
        if sentence := describe_undeclared(self, of_topics=of_topics, unread=unread):
            self.warn(sentence)

    def _continue_start(self) -> None:
        """Walk to active, one step per call, waiting for the model in between."""
        state = self._worker.model.state
        if state is ModelState.LOADING:
            return
        if state is ModelState.NONE:
            if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
                return
        elif state is ModelState.READY and not self._is_active:
            self.trigger_activate()
        self._autostart.cancel()

    def _change_settings(self, changes: Sequence[Any]) -> SetParametersResult:
        """Check a change as a whole, then put all of it into force."""
        before = self._settings.current
        own = {one.name: one.value for one in changes if hasattr(before, one.name)}
        try:
            settings = before.changed(own)
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        if self._is_active and settings.model_values != before.model_values:
            reason = "parameters of the model cannot change while the node is active"
            return SetParametersResult(successful=False, reason=f"{reason}; deactivate it first")
        self._settings.current = settings
        self._worker.wake()
        return SetParametersResult(successful=True)

    def _publish_diagnostics(self) -> None:
        array = DiagnosticArray()
        array.header.stamp = self.get_clock().now().to_msg()
        settings, worker = self._settings.current, self._worker
        doing = worker.describe() if self._is_enabled else "disabled by ~/enable"
        is_answering = self._is_active and self._is_enabled
        now_s, node_name = time.monotonic(), self.get_fully_qualified_name()[1:]
        for topics in self._cameras if is_answering else ():
            self._check.look(topics, settings)
        waiting = {one.record.name: one.watch.describe_waiting() for one in self._cameras}
        for record in self._records:
            name = f"{node_name}: {record.name or 'masks'}"
            status = NodeStatus(
                is_answering,
                doing,
                worker.model,
                settings.encode_ahead,
                waiting.get(record.name, ""),
                self.failure,
            )
            fill_diagnostics(array, _DIAGNOSTIC_TYPES, name, record, status, settings.alarms, now_s)
        self._diagnostics.publish(array)


def main() -> int:
    """Run the node until a signal ends it; return the exit status."""
    use_large_socket_buffers(os.environ)
    with ros_until_signal():
        try:
            node = SameoNode()
        except (ValueError, ParameterException) as error:
            print(f"sameo_node: {error}", file=sys.stderr)
            return 1
        forward_logs(node)
        try:
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            executor.spin()
        finally:
            node.close()
            node.destroy_node()
    if any(thread.name == WORKER_THREAD for thread in threading.enumerate()):
        os._exit(0)  # a model is still being built, and the end of the interpreter would abort
    return 0


if __name__ == "__main__":
    sys.exit(main())
