"""The paper's tables 2, 3, 4, 5, A and B as data, to print beside our own numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).with_name("paper_tables.json")


def rows_for(dataset: str, *, class_specific: bool) -> list[dict[str, Any]]:
    """Return what the paper reports for a data set, in its order.

    Args:
        dataset: `cocoa_cls`, `d2sa` or `muva`; others have no rows.
        class_specific: Tables A and B, or those without classes.

    Returns:
        For each line `table`, its number or letter; `front_end`, None for table 5, a mean over two
        kinds of detectors; `boxes`, what the detector's boxes enclose: `visible`, `amodal` or
        `both`; `method`, a row's name in our tables or `efficient_sam` (our `visible_decoder`);
        `zero_shot`; `scores`, fractions by metric; `training_prompt` (table 5), None elsewhere.
    """
    return [
        {"training_prompt": None, **row, "table": table["table"], "scores": row["scores"][dataset]}
        for table in json.loads(PATH.read_text())["tables"]
        for row in table["rows"]
        if dataset in row["scores"] and table["class_specific"] == class_specific
    ]
