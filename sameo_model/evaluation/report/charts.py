"""Charts as SVG text: lines over fractions, with axes, legend and values on hover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 460, 340
LEFT, TOP, RIGHT, BOTTOM = 46, 14, 18, 92
_PLOT_WIDTH, _PLOT_HEIGHT = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


@dataclass(frozen=True)
class Point:
    """A point of a chart.

    Attributes:
        x: Position from left to right, a fraction.
        y: Value, a fraction; None leaves a gap.
        note: Text that appears over the point.
        weight: Size of the point's mark relative to others, in [0, 1].
    """

    x: float
    y: float | None
    note: str = ""
    weight: float = 0.3


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        label: Text in the legend.
        colour: CSS colour.
        points: From left to right.
        dashes: SVG dash pattern, "" for a solid line.
        has_marks: Whether every point gets a mark with its note.
    """

    label: str
    colour: str
    points: Sequence[Point]
    dashes: str = ""
    has_marks: bool = True


def line_chart(
    title: str,
    x_title: str,
    y_title: str,
    series: Sequence[Series],
    *,
    x_ticks: Sequence[tuple[float, str]] | None = None,
    has_diagonal: bool = False,
) -> str:
    """Draw lines in the unit square.

    Args:
        title: What the chart shows, for people who cannot see it.
        x_title: Title of the horizontal axis.
        y_title: Title of the vertical axis.
        series: The lines.
        x_ticks: Positions and texts, of two lines at most, on the horizontal axis; None for
            0, 0.2, ..., 1.
        has_diagonal: Draw a line from (0, 0) to (1, 1), where both axes are equal.

    Returns:
        An `<svg>` element.
    """
    ticks = [(n / 5, f"{n / 5:.1f}") for n in range(6)]
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        *(_y_tick(value, text) for value, text in ticks),
        *(_x_tick(value, text) for value, text in x_ticks or ticks),
        f'<text class="axis" x="{LEFT + _PLOT_WIDTH / 2}" y="{HEIGHT - BOTTOM + 44}" '
        f'text-anchor="middle">{escape(x_title)}</text>',
        f'<text class="axis" transform="translate(12 {TOP + _PLOT_HEIGHT / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_title)}</text>',
    ]
    if has_diagonal:
        parts.append(
            f'<line class="diagonal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>'
        )
    parts += [_draw(line) for line in series]
    parts += _legend(series)
    return "\n".join([*parts, "</svg>"])


def _x(value: float) -> float:
    return round(LEFT + value * _PLOT_WIDTH, 1)


def _y(value: float) -> float:
    return round(TOP + (1 - value) * _PLOT_HEIGHT, 1)


def _y_tick(value: float, text: str) -> str:
    return (
        f'<line class="grid" x1="{_x(0)}" y1="{_y(value)}" x2="{_x(1)}" y2="{_y(value)}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{_y(value) + 4}" text-anchor="end">{text}</text>'
    )


def _x_tick(value: float, text: str) -> str:
    return "".join(
        f'<text class="tick" x="{_x(value)}" y="{_y(0) + 16 + 13 * number}" text-anchor="middle">'
        f"{escape(line)}</text>"
        for number, line in enumerate(text.split("\n"))
    )


def _draw(line: Series) -> str:
    parts = []
    for run in _runs(line.points):
        path = " ".join(f"{_x(point.x)},{_y(point.y or 0)}" for point in run)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{line.colour}" stroke-width="2" '
            f'stroke-dasharray="{line.dashes}"/>'
        )
    if line.has_marks:
        parts += [
            f'<circle cx="{_x(point.x)}" cy="{_y(point.y)}" r="{2.5 + 6 * point.weight:.1f}" '
            f'fill="{line.colour}"><title>{escape(point.note)}</title></circle>'
            for point in line.points
            if point.y is not None
        ]
    return "".join(parts)


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Split a line where values are unknown."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.y is None:
            runs.append([])
        else:
            runs[-1].append(point)
    return [run for run in runs if run]


def _legend(series: Sequence[Series]) -> list[str]:
    """Write the labels below the axis, two in a line."""
    parts = []
    for number, line in enumerate(series):
        x = LEFT + (number % 2) * 0.53 * _PLOT_WIDTH
        y = HEIGHT - BOTTOM + 58 + 14 * (number // 2)
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{line.colour}" '
            f'stroke-width="3" stroke-dasharray="{line.dashes}"/>'
            f'<text class="tick" x="{x + 24}" y="{y}">{escape(line.label)}</text>'
        )
    return parts
