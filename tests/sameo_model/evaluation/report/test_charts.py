import xml.etree.ElementTree as ET

from sameo_model.evaluation.report.charts import Point, Series, line_chart


def _parse(points, **more):
    series = [Series("one & <two>", "#0072b2", points)]
    return ET.fromstring(line_chart("a < b", "x", "y", series, **more))


def test_a_chart_is_well_formed_and_escapes_what_it_is_given():
    svg = _parse([Point(0.0, 0.5, "note & <more>")])

    assert svg.attrib["aria-label"] == "a < b"
    assert any(text.text == "one & <two>" for text in svg.iter("text"))
    assert any(title.text == "note & <more>" for title in svg.iter("title"))


def test_points_lie_where_their_values_say():
    svg = _parse([Point(0.0, 0.0), Point(1.0, 1.0)])
    first, second = svg.iter("circle")

    # To the right, and upwards, where y is smaller.
    assert float(first.attrib["cx"]) < float(second.attrib["cx"])
    assert float(first.attrib["cy"]) > float(second.attrib["cy"])


def test_unknown_values_leave_a_gap():
    svg = _parse([Point(0.0, 0.1), Point(0.3, 0.2), Point(0.5, None), Point(0.8, 0.3)])

    assert len(list(svg.iter("polyline"))) == 2
    assert len(list(svg.iter("circle"))) == 3


def test_ticks_can_have_two_lines():
    svg = _parse([Point(0.5, 0.5)], x_ticks=[(0.5, "0.1-0.3\n17")])

    texts = [text.text for text in svg.iter("text")]
    assert "0.1-0.3" in texts
    assert "17" in texts
