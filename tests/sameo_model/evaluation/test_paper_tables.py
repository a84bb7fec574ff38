import json

import pytest

from sameo_model.evaluation.paper_tables import PATH, rows_for


def test_all_six_tables_are_there():
    tables = {table["table"]: table["rows"] for table in json.loads(PATH.read_text())["tables"]}

    # Lines of the printed tables.
    assert {name: len(rows) for name, rows in tables.items()} == {
        "2": 8,
        "3": 11,
        "4": 2,
        "5": 3,
        "A": 6,
        "B": 6,
    }


@pytest.mark.parametrize(
    ("dataset", "table", "front_end", "method", "expected"),
    [
        # Checked against the printed tables, one line of each.
        ("cocoa_cls", "2", "RTMDet", "sameo", (0.553, 0.752, 0.608, 0.743)),
        ("muva", "2", "ConvNeXt-V2", "sameo", (0.792, 0.931, 0.826, 0.813)),
        ("d2sa", "2", "AISFormer", "front_end", (0.663, 0.899, 0.728, 0.761)),
        ("d2sa", "3", "CO-DETR", "sameo", (0.750, 0.910, 0.785, 0.822)),
        ("cocoa_cls", "3", "RetinaNet", "efficient_sam", (0.448, 0.671, 0.486, 0.684)),
        ("d2sa", "A", "ConvNeXt-V2", "sameo", (0.729, 0.849, 0.765, 0.833)),
        ("cocoa_cls", "B", "CO-DETR", "sameo", (0.536, 0.706, 0.595, 0.733)),
    ],
)
def test_lines_hold_the_printed_numbers(dataset, table, front_end, method, expected):
    rows = rows_for(dataset, class_specific=table in "AB")
    (row,) = [
        row
        for row in rows
        if (row["table"], row["front_end"], row["method"]) == (table, front_end, method)
    ]
    assert tuple(row["scores"][name] for name in ("ap", "ap50", "ap75", "ar")) == expected


def test_refinement_and_prompt_ablations_are_there():
    rows = rows_for("cocoa_cls", class_specific=False)
    refined = {row["method"]: row["scores"]["ap"] for row in rows if row["table"] == "4"}
    prompts = {row["training_prompt"]: row["scores"]["ap"] for row in rows if row["table"] == "5"}

    assert refined == {"sameo_no_rescore": 0.524, "sameo": 0.543}
    assert prompts == {"amodal": 0.530, "visible": 0.537, "random": 0.542}


def test_other_data_sets_have_no_lines():
    assert rows_for("kins", class_specific=False) == []
    assert rows_for("muva", class_specific=True) == []
