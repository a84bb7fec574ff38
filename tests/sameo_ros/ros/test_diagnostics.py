import logging
import threading
from types import SimpleNamespace

import pytest

from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.statistics import Alarms, Statistics
from sameo_ros.core.worker import NodeStatus
from sameo_ros.ros.diagnostics import (
    DiagnosticTypes,
    describe_qos_conflict,
    fill_diagnostics,
    forward_logs,
    say_why,
)

CONTRACT = {
    *("images_received", "detections_received", "masks_published", "boxes_rejected"),
    *("dropped_superseded", "dropped_unmatched", "dropped_late"),
    *("latency_encode_ms_p50", "latency_decode_ms_p50", "latency_publish_ms_p50", "age_ms_p50"),
    *("latency_encode_ms_p95", "latency_decode_ms_p95", "latency_publish_ms_p95", "age_ms_p95"),
    *("latency_answer_ms_p50", "latency_answer_ms_p95"),
    *("backend", "model"),
}

TYPES = DiagnosticTypes(
    status=lambda: SimpleNamespace(level=None, name="", message="", hardware_id="", values=[]),
    key_value=SimpleNamespace,
)


ALARMS = Alarms(warn_age_ms=100.0, error_age_ms=200.0, warn_dropped_share=0.5)


def fill(statistics=None, **status):
    defaults = {
        "is_active": True, "has_failed": False, "description": "model x is ready", "model": "x",
        "backend": "openvino", "device": "CPU, f32", "engine_key": "encoder-1f", "problem": "",
    }  # fmt: skip
    message = SimpleNamespace(status=[])
    statistics = statistics or Statistics()
    statistics.count("images_received", 3)
    status = NodeStatus(**{**defaults, **status})
    fill_diagnostics(message, TYPES, "cam", statistics, status, ALARMS)
    return message.status[0]


def test_every_key_of_the_contract_is_there():
    values = {pair.key: pair.value for pair in fill().values}
    assert set(values) >= CONTRACT
    assert values["images_received"] == "3"
    assert values["model"] == "x"
    assert values["backend"] == "openvino"
    assert values["device"] == "CPU, f32"
    assert values["engine_key"] == "encoder-1f"
    assert float(values["memory_mib"]) > 10
    assert all(isinstance(value, str) for value in values.values())


@pytest.mark.parametrize(
    ("status", "level", "sentence"),
    [
        ({}, b"\0", "answering"),
        ({"problem": "boxes are late"}, b"\1", "boxes are late"),
        ({"is_active": False}, b"\1", "not active; model x is ready"),
        ({"has_failed": True, "is_active": False}, b"\2", "model x is ready"),
    ],
)
def test_the_level_says_how_bad_it_is(status, level, sentence):
    filled = fill(**status)
    assert (filled.level, filled.message) == (level, sentence)


@pytest.mark.parametrize(
    ("age_ms", "level", "words"),
    [
        (100.0, 0, "answering"),
        (101.0, 1, "masks are 101 ms old"),
        (200.0, 1, "masks are 200 ms old"),
        (201.0, 2, "masks are 201 ms old"),
    ],
)
def test_old_masks_raise_an_alarm(age_ms, level, words):
    statistics = Statistics()
    statistics.record("age", age_ms)
    filled = fill(statistics)
    assert ord(filled.level) == level
    assert words in filled.message


def test_thresholds_of_zero_never_raise_an_alarm():
    statistics = Statistics()
    statistics.record("age", 1e9)
    assert statistics.alarm(Alarms(0.0, 0.0, 1.0)) == (0, "")


@pytest.mark.parametrize(("num_dropped", "level"), [(5, 0), (6, 1)])
def test_many_drops_raise_an_alarm(num_dropped, level):
    statistics = Statistics()
    for _ in range(100):
        statistics.count("dropped_late")  # forgotten: only the last 100 messages count
    for _ in range(90):
        statistics.count("masks_published")
    for _ in range(10 - num_dropped):
        statistics.count("masks_published")
    for _ in range(num_dropped):
        statistics.count("dropped_superseded")
    assert statistics.alarm(Alarms(0.0, 0.0, 0.05))[0] == level


def test_the_worst_problem_is_named():
    statistics = Statistics()
    statistics.record("age", 300.0)
    filled = fill(statistics, problem="boxes are late")
    assert "300 ms old" in filled.message
    statistics = Statistics()
    statistics.record("age", 50.0)
    assert fill(statistics, problem="boxes are late").message == "boxes are late"


def test_the_rate_is_that_of_the_last_five_seconds():
    statistics = Statistics()
    for _ in range(10):
        statistics.count("masks_published")
    assert statistics.to_values()["rate_hz"] == "2.0"


def test_percentiles_are_over_the_last_200_times():
    statistics = Statistics()
    for _ in range(300):
        statistics.record("age", 1e6)
    for time_ms in range(1, 201):
        statistics.record("age", time_ms)
    values = statistics.to_values()
    assert values["age_ms_p50"] == "100.50"  # between 100 and 101
    assert values["age_ms_p95"] == "190.05"  # 1 + 0.95 * 199
    assert values["overhead_ms_p50"] == "nan"


def test_counting_from_several_threads_loses_nothing():
    statistics = Statistics()
    threads = [
        threading.Thread(target=lambda: [statistics.count("images_received") for _ in range(5000)])
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statistics["images_received"] == 20_000


def test_a_problem_is_said_once_per_period_with_its_repeats():
    said = []
    problems = ProblemLog(said.append, period_s=5.0)
    for now_s in (0.0, 1.0, 4.9, 5.0):
        problems.report("late", f"late at {now_s}", now_s)
    assert said == ["late at 0.0", "late at 5.0 (2 more like this before)"]


def test_kinds_and_cameras_have_periods_of_their_own():
    said = []
    problems = ProblemLog(said.append)
    problems.report("late", "a", 0.0)
    problems.report("wrong", "b", 0.0)
    problems.report("late", "c", 0.0, source="left")
    assert said == ["a", "b", "camera left: c"]


def test_a_problem_is_recent_for_two_periods():
    problems = ProblemLog(lambda _: None, period_s=5.0)
    assert problems.recent(0.0) == ""
    problems.report("late", "late", 1.0)
    assert problems.recent(11.0) == "late"
    assert problems.recent(11.1) == ""


def test_logs_of_the_runtime_are_forwarded_by_level():
    said = []
    logger = SimpleNamespace(
        info=lambda text: said.append(("info", text)),
        warning=lambda text: said.append(("warning", text)),
    )
    ros = SimpleNamespace(ok=lambda: True)
    node = SimpleNamespace(get_logger=lambda: logger, context=ros)
    library = logging.getLogger("sameo_model.runtime.something")
    parents = [logging.getLogger(name) for name in ("sameo_model", "sameo_ros")]
    before = [(parent, list(parent.handlers), parent.level) for parent in parents]
    try:
        forward_logs(node)
        library.info("took %s", "openvino")
        library.warning("slow")
        library.debug("nothing")
        ros.ok = lambda: False
        library.warning("nobody takes this any more")
    finally:
        for parent, handlers, level in before:
            parent.handlers[:], parent.level = handlers, level
            parent.setLevel(level)
    assert said == [("info", "took openvino"), ("warning", "slow")]


def test_a_qos_conflict_names_the_parameter_that_mends_it():
    sentence = describe_qos_conflict("/image", "subscription", "reliability")
    assert sentence.startswith("a publisher of /image asks for another reliability")
    assert "qos_overrides./image.subscription.reliability" in sentence
    assert describe_qos_conflict("/m", "publisher", "durability").startswith("a subscriber of /m")


def test_a_failed_transition_says_why():
    said = []
    node = SimpleNamespace(get_logger=lambda: SimpleNamespace(error=said.append))

    @say_why("failure")
    def on_configure(node, state):
        if state == "bad":
            raise RuntimeError("no device")
        return "success"

    assert on_configure(node, "good") == "success"
    assert said == []
    assert on_configure(node, "bad") == "failure"
    assert said == ["on_configure failed: no device"]
