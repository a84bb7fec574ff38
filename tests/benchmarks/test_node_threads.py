"""The table of threads: what its figures mean, and a run beside a real detector."""

import pytest

pytestmark = pytest.mark.ros
pytest.importorskip("rclpy", reason="the ROS 2 environment is missing: run `make setup`")

from benchmarks.node_threads import Figures, format_table, list_cases, main  # noqa: E402
from tests.bundles import make_tiny_bundle  # noqa: E402


def test_a_thread_has_no_second_stream_and_each_case_is_pinned_and_not():
    assert [case.name for case in list_cases(["f32"])] == [
        f"f32, {threads}, pinning {pinning}"
        for threads in ("1 thread, 1 stream", "2 threads, 1 stream", "2 threads, 2 streams")
        for pinning in ("on", "off")
    ]
    assert [case.threads for case in list_cases(["f32, 1", "f32, 2 threads, 2"])] == [1, 1, 2, 2]


def test_a_row_holds_ages_detector_cores_and_answers_and_the_best_of_a_precision_is_bold():
    figures = {
        "no node": Figures([], [40, 41, 50], [0.0]),
        # Of 0 to 100 in steps of 10, the median is 50 and 5 % lie above 95.
        "f32, slow": Figures([float(age) for age in range(0, 101, 10)], [40, 60], [0.5, 1.0]),
        "f32, fast": Figures([20, 30, 40], [45], [1.25]),
        "bf16, only": Figures([70], [45, 45], [1.0]),
        "bf16, silent": Figures([], [45, 45], [0.01]),
    }
    assert format_table(figures)[2:] == [
        "| no node | - | 41 | - | - |",
        "| f32, slow | 50 / 95 | 50 | 0.75 | 11 of 2 |",
        "| f32, fast | **30** / 39 | 45 | 1.25 | 3 of 1 |",
        "| bf16, only | **70** / 70 | 45 | 1.00 | 1 of 2 |",
        "| bf16, silent | - | 45 | 0.01 | 0 of 2 |",
    ]


def test_a_node_beside_the_detector_is_measured_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", "0")  # restored afterwards: the benchmark sets its own
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    model = str(make_tiny_bundle(tmp_path / "tiny"))
    output = tmp_path / "table.md"
    case = "f32, 1 thread, 1 stream, pinning off"
    options = ["--rounds", "1", "--seconds", "2", "--cases", case]
    assert main(["--model", model, "--output", str(output), *options]) == 0
    text = output.read_text()
    assert text in capsys.readouterr().out
    alone, beside = [line.split(" | ") for line in text.splitlines()[4:]]
    assert (alone[0], beside[0]) == ("| no node", f"| {case}")
    assert float(alone[2]) > 1  # ms: a network of two billion multiplications
    age_p50, age_p95 = (float(age.strip("*")) for age in beside[1].split(" / "))
    assert 0 < age_p50 <= age_p95
    assert 0 < float(beside[3]) < 10
    answered, detected = beside[4].rstrip(" |").split(" of ")
    assert 0 < int(answered) <= int(detected)


def test_unknown_cases_are_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--cases", "three threads"])
    assert "--cases must be words of the table's first column" in capsys.readouterr().err
