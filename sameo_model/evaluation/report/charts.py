"""The charts of a report as SVG text, drawn with matplotlib."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sameo_model.evaluation import rows as row_names
from sameo_model.evaluation.average_precision import RECALLS, MatchTable

# Okabe and Ito's colours, told apart by people with any colour vision.
LINES: dict[str, dict[str, Any]] = {
    row_names.FRONT_END: {"color": "#e69f00"},
    row_names.TRUE_VISIBLE: {"color": "#009e73", "linestyle": "--"},
    row_names.VISIBLE_DECODER: {"color": "#cc79a7", "linestyle": ":"},
    row_names.SAMEO_PLAIN: {"color": "#56b4e9", "linestyle": "-."},
    row_names.SAMEO: {"color": "#0072b2"},
}


def draw_charts(result: Mapping[str, Any], tables: Mapping[str, MatchTable]) -> list[str]:
    """Return `<svg>` elements: precision, IoU by occlusion, and calibration with a model."""
    charts = [_draw_precision(result, tables, threshold) for threshold in (0.5, 0.75)]
    charts.append(_draw_occlusion(result))
    if result["calibration"]:
        charts.append(_draw_calibration(result["calibration"]))
    return charts


def _draw_precision(
    result: Mapping[str, Any], tables: Mapping[str, MatchTable], threshold: float
) -> str:
    axes = _unit_axes("recall", "precision")
    for row in result["rows"]:
        curve = tables[row["name"]].precision_curve(threshold)
        axes.plot(RECALLS, curve, label=row["label"], **LINES[row["name"]])
    return _to_svg(axes, f"Precision over recall at IoU {threshold:.2f}")


def _draw_occlusion(result: Mapping[str, Any]) -> str:
    axes = _unit_axes("occlusion rate, number of objects", "mean IoU, missed = 0")
    bins = result["rows"][0]["iou_by_occlusion"]
    middles = (np.arange(len(bins)) + 0.5) / len(bins)
    for row in result["rows"]:
        # None, where a bin holds no object, becomes NaN and leaves a gap.
        values = np.array([entry["mean_iou"] for entry in row["iou_by_occlusion"]], float)
        axes.plot(middles, values, marker="o", label=row["label"], **LINES[row["name"]])
    names = [f"{entry['lo']:.1f}-{entry['hi']:.1f}\n{entry['num']}" for entry in bins]
    axes.set_xticks(middles, names)
    return _to_svg(axes, "IoU by occlusion rate, objects that were not found count 0")


def _draw_calibration(calibration: Mapping[str, Any]) -> str:
    axes = _unit_axes("predicted IoU (size: detections)", "true IoU")
    bins = [entry for entry in calibration["bins"] if entry["num"]]
    most = max((entry["num"] for entry in bins), default=1)
    predicted, true = ([entry[key] for entry in bins] for key in ("predicted", "true"))
    line = LINES[row_names.SAMEO]
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":")
    axes.plot(predicted, true, label="detections by predicted IoU", **line)
    axes.scatter(predicted, true, [20 + 200 * entry["num"] / most for entry in bins], **line)
    return _to_svg(axes, "Predicted against true IoU")


def _unit_axes(x_title: str, y_title: str) -> Axes:
    """Return axes from 0 to 1; values at their ends are not cut."""
    axes = Figure(figsize=(4.6, 3.6), layout="constrained").subplots()
    axes.set(xlabel=x_title, ylabel=y_title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.grid(color="#d8dde5")
    return axes


def _to_svg(axes: Axes, title: str) -> str:
    axes.set_title(title, fontsize="medium")
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.legend(loc="outside lower center", ncols=2, fontsize="small", frameon=False)
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        more = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # only what is seen
        figure.savefig(text, format="svg", metadata={"Title": title, **more})
    return text.getvalue()[text.getvalue().index("<svg") :]
