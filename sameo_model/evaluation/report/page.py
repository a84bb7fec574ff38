"""The frame of a report: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape

import cv2

from sameo_model.runtime.types import Uint8Array

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6472; --line: #d8dde5;
  --ground: #ffffff; --band: #f4f6f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #a0a9b8; --line: #3a4252;
  --ground: #14181f; --band: #1d232d; } }
body { margin: 0 auto; max-width: 1080px; padding: 24px; background: var(--ground);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 36px 0 8px; }
h3 { font-size: 15px; margin: 20px 0 6px; } p { margin: 6px 0; }
.soft, figcaption { color: var(--soft); font-size: 12px; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 8px 0; }
th, td { border-bottom: 1px solid var(--line); padding: 4px 12px 4px 4px; text-align: right; }
th:first-child, td:first-child { text-align: left; }
th { color: var(--soft); font-weight: 600; } tr.chosen td { font-weight: 700; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 16px; }
svg { width: 100%; height: auto; border-radius: 6px; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(480px, 1fr)); gap: 14px; }
figure { margin: 0; } figure img { width: 100%; border-radius: 4px; display: block; }
pre { overflow-x: auto; background: var(--band); padding: 12px; border-radius: 6px; }
"""


def render_page(title: str, subtitle: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return a whole HTML document of sections, plain headings with HTML below."""
    body = "\n".join(
        f"<section><h2>{escape(heading)}</h2>\n{content}\n</section>"
        for heading, content in sections
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="soft">{escape(subtitle)}</p>\n{body}\n'
        "</body>\n</html>\n"
    )


def html_table(rows: Sequence[Sequence[str]], chosen: Sequence[int] = ()) -> str:
    """Return a table of plain texts.

    Args:
        rows: Cells; the first row holds the titles.
        chosen: Numbers of the rows, counted without the titles, that stand out.
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    lines = [
        f"<tr{' class=chosen' if number in chosen else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for number, row in enumerate(rows[1:])
    ]
    return (
        f'<div class="table"><table><thead><tr>{head}</tr></thead><tbody>'
        + "\n".join(lines)
        + "</tbody></table></div>"
    )


def html_figure(image_rgb: Uint8Array, caption: str) -> str:
    """Return a `<figure>` that holds the image itself.

    Args:
        image_rgb: uint8 (h, w, 3), RGB.
        caption: Plain text.
    """
    image_bgr = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 88])
    data = base64.b64encode(jpeg.tobytes()).decode("ascii")
    text = escape(caption)
    return (
        f'<figure><img src="data:image/jpeg;base64,{data}" alt="{text}">'
        f"<figcaption>{text}</figcaption></figure>"
    )
