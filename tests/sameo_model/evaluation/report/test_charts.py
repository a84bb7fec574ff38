import xml.etree.ElementTree as ET

import numpy as np

from sameo_model.evaluation.average_precision import MatchTable
from sameo_model.evaluation.matching import ImageMatches
from sameo_model.evaluation.report.charts import draw_charts

BINS = [(0.0, 0.1, 5), (0.1, 0.3, 17), (0.3, 0.5, 0), (0.5, 1.0, 2)]


def _draw(mean_ious=(0.9, 0.8, None, 0.4), calibration=None):
    bins = [
        {"lo": lo, "hi": hi, "num": num, "mean_iou": mean_iou}
        for (lo, hi, num), mean_iou in zip(BINS, mean_ious, strict=True)
    ]
    row = {"name": "sameo", "label": "one & <two>", "iou_by_occlusion": bins}
    no_hits = np.zeros((10, 1), bool)
    match = ImageMatches(1, -1, 0, np.ones(1), ~no_hits, no_hits, 1)
    result = {"rows": [row], "calibration": calibration}
    return [ET.fromstring(svg) for svg in draw_charts(result, {"sameo": MatchTable([match], [1])})]


def _texts(svg):
    return ["".join(text.itertext()) for text in svg.iter("{http://www.w3.org/2000/svg}text")]


def test_charts_are_well_formed_and_name_their_lines_and_bins():
    precision, other_precision, occlusion = _draw()
    assert "Precision over recall at IoU 0.50" in _texts(precision)
    assert "Precision over recall at IoU 0.75" in _texts(other_precision)
    texts = _texts(occlusion)
    assert "one & <two>" in texts
    assert any("0.1-0.3" in text for text in texts)
    assert any("17" in text for text in texts)


def test_a_bin_without_objects_leaves_a_gap():
    def path_of(svg):
        paths = [path.attrib for path in svg.iter("{http://www.w3.org/2000/svg}path")]
        own = [one for one in paths if "fill: none; stroke: #0072b2" in one.get("style", "")]
        (line,) = (one["d"] for one in own if "clip-path" in one)  # without the legend's
        return line

    # The last bin stands alone behind the gap, so no line leads to it.
    assert path_of(_draw()[2]).count("L") == 1
    assert path_of(_draw((0.9, 0.8, 0.6, 0.4))[2]).count("L") == 3


def test_the_calibration_chart_is_drawn_where_there_is_a_model():
    entry = {"lo": 0.8, "hi": 0.9, "num": 3, "predicted": 0.85, "true": 0.7}
    empty = {"lo": 0.9, "hi": 1.0, "num": 0, "predicted": None, "true": None}
    charts = _draw(calibration={"bins": [entry, empty]})
    assert len(charts) == 4
    assert "Predicted against true IoU" in _texts(charts[3])
