"""docs/node.md names only tests that exist, and the README every topic."""

import re

from tests.sameo_ros.processes import ROOT

TOPIC_SOURCES = "camera_topics.py", "object_topics.py"
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "node.md").read_text()


def test_every_test_that_the_guide_names_exists():
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    existing = set(re.findall(r"^def (test_\w+)", sources, flags=re.M))
    named = set(re.findall(r"`(test_\w+)`", GUIDE))
    assert len(named) > 30
    assert named - existing == set()


def test_every_numbered_complaint_has_a_test():
    rows = re.findall(r"^\| (\d+)\. .*$", GUIDE, flags=re.M)
    assert rows == [str(number) for number in range(1, 16)]
    assert all("`test_" in row for row in re.findall(r"^\| \d+\. .*$", GUIDE, flags=re.M))


def test_the_readme_lists_every_topic_and_service():
    sources = [(ROOT / "sameo_ros" / "ros" / name).read_text() for name in TOPIC_SOURCES]
    outputs = {name for text in sources for name in re.findall(r'outputs \+ "(\w+)"', text)}
    inputs = {name for text in sources for name in re.findall(r'inputs \+ "(\w+)"', text)}
    assert outputs == {"masks", "overlay", "objects", "markers", "points", "instances"}
    assert inputs == {"image", "detections", "depth", "camera_info"}
    for name in (
        {f"~/{name}" for name in outputs} | inputs | {"~/segment", "~/enable", "/diagnostics"}
    ):
        assert re.search(rf"^\| (in|out|service) \| `{name}` \|", README, flags=re.M), name
