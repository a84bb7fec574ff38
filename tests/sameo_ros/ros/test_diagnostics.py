import logging
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

from sameo_ros.core.camera import CameraRecord
from sameo_ros.core.model_loading import ModelState, ModelStatus
from sameo_ros.core.problem_log import ProblemLog
from sameo_ros.core.statistics import Alarms, Statistics
from sameo_ros.ros.diagnostics import (
    DiagnosticTypes,
    NodeStatus,
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


MODEL = ModelStatus((), ModelState.READY, "", "x", "openvino", "CPU, f32", "encoder-1f")


def fill(statistics=None, *, problems=(), is_active=True, waiting="", **model):
    message = SimpleNamespace(status=[])
    record = CameraRecord("", statistics or Statistics(), ProblemLog(lambda _: None))
    record.statistics.count("images_received", 3)
    for kind, sentence in problems:
        record.problems.report(kind, sentence, 0.0)
    status = NodeStatus(is_active, "model x is ready", replace(MODEL, **model), "auto", waiting)
    fill_diagnostics(message, TYPES, "cam", record, status, ALARMS, now_s=1.0)
    return message.status[0]


def values_of(status):
    return {pair.key: pair.value for pair in status.values}


def test_every_key_of_the_contract_is_there():
    values = values_of(fill())
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
        ({"problems": [("boxes", "they are late")]}, b"\1", "they are late"),
        ({"is_active": False}, b"\1", "not active; model x is ready"),
        ({"waiting": "waiting for the first masks"}, b"\1", "waiting for the first masks"),
        ({"state": ModelState.FAILED, "is_active": False}, b"\2", "model x is ready"),
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


def test_a_cause_is_named_before_the_age_that_it_makes():
    statistics = Statistics()
    statistics.record("age", 300.0)
    filled = fill(statistics, problems=[("boxes", "they are late")])
    assert (filled.level, filled.message) == (b"\2", "they are late")


def test_several_problems_are_several_values_and_the_most_important_is_the_message():
    problems = [("boxes", "box 3 is inverted"), ("failed", "the wire is cut"), ("odd", "x")]
    filled = fill(problems=problems)
    assert filled.message == "the wire is cut (and 2 more: see problem_...)"
    values = values_of(filled)
    assert {kind: values[f"problem_{kind}"] for kind, _ in problems} == dict(problems)


def test_encoding_ahead_is_said_to_be_off_where_the_model_has_nothing_to_do_then():
    assert values_of(fill())["encode_ahead"] == "auto"
    assert values_of(fill(encodes_image=False))["encode_ahead"].startswith("off: this model")


@pytest.mark.parametrize("rate_hz", [2, 40, 200])
def test_the_rate_is_that_of_the_last_five_seconds(rate_hz):
    clock = [0.0]
    statistics = Statistics(lambda: clock[0])
    for number in range(8 * rate_hz):
        clock[0] = number / rate_hz
        statistics.count("masks_published")
    assert float(statistics.to_values()["rate_hz"]) == pytest.approx(rate_hz, abs=0.3)
    clock[0] += 5.1
    assert statistics.to_values()["rate_hz"] == "0.0"


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


def test_kinds_have_periods_of_their_own_and_cameras_are_named():
    said = []
    problems = ProblemLog(said.append, "left")
    problems.report("late", "a", 0.0)
    problems.report("wrong", "b", 0.0)
    assert said == ["camera left: a", "camera left: b"]


def test_a_problem_is_current_for_a_period_or_until_it_is_resolved():
    problems = ProblemLog(lambda _: None, period_s=5.0)
    assert problems.current(0.0) == {}
    problems.report("late", "they are late", 1.0)
    problems.report("wrong", "b", 1.0)
    assert problems.current(6.0) == {"late": "they are late", "wrong": "b"}
    problems.resolve("wrong")
    assert problems.current(6.0) == {"late": "they are late"}
    assert problems.current(6.1) == {}


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


def test_a_qos_conflict_names_the_parameter_to_set():
    sentence = describe_qos_conflict("/image", "subscription", "reliability")
    assert sentence.startswith("a publisher of /image uses another reliability")
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
    assert node.failure == said[0]
