"""The paper's tables 2, 3, 4, 5, A and B as data, to print beside our own numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("paper_tables.json")


@dataclass(frozen=True)
class PaperRow:
    """One line of a table of the paper, for one data set.

    Attributes:
        table: Number or letter of the table.
        front_end: Detector; None for table 5, a mean over two kinds of detectors.
        boxes: `visible`, `amodal` or `both`: what the detector's boxes enclose.
        method: A row's name in our tables, `front_end`, `sameo`, `sameo_no_rescore`, or
            `efficient_sam` (our `visible_decoder`).
        zero_shot: Whether training left the data set out.
        scores: `ap`, `ap50`, `ap75` and, but for table 4, `ar`; fractions.
        training_prompt: Boxes in training (table 5), None elsewhere.
    """

    table: str
    front_end: str | None
    boxes: str
    method: str
    zero_shot: bool
    scores: dict[str, float]
    training_prompt: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the line as JSON values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def rows_for(dataset: str, *, class_specific: bool) -> list[PaperRow]:
    """Return what the paper reports for a data set, in its order.

    Args:
        dataset: `cocoa_cls`, `d2sa` or `muva`; others have no rows.
        class_specific: Tables A and B, or those without classes.
    """
    return [row for is_specific, row in _rows(dataset) if is_specific == class_specific]


def _rows(dataset: str) -> Iterator[tuple[bool, PaperRow]]:
    for table in json.loads(PATH.read_text())["tables"]:
        for row in table["rows"]:
            if dataset in row["scores"]:
                yield (
                    table["class_specific"],
                    PaperRow(
                        table["table"],
                        row["front_end"],
                        row["boxes"],
                        row["method"],
                        row["zero_shot"],
                        row["scores"][dataset],
                        row.get("training_prompt"),
                    ),
                )
