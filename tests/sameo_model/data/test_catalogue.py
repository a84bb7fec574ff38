"""The descriptions in `config/data`."""

from __future__ import annotations

import pytest

from sameo_model.data.catalogue import CONFIG_DIR, load_card
from sameo_model.data.collection import dataset_names
from sameo_model.data.filters import Rule


def test_every_data_set_has_a_description_and_the_other_way_round():
    assert {path.stem for path in CONFIG_DIR.glob("*.yaml")} == set(dataset_names())
    for name in dataset_names():
        card = load_card(name)
        assert card.licence.strip()
        assert card.obtain.strip()
        assert card.layout.strip()
        assert set(card.modalities) <= {"visible", "amodal"}


def test_table_1_adds_up_to_the_papers_instances():
    rows = [load_card(name).table_1 for name in dataset_names()]
    rows = [row for row in rows if row is not None]
    assert len(rows) == 11
    # The paper's total of instances; its total of images is not the sum of its column.
    assert sum(row.num_instances for row in rows) == 2_352_659


def test_the_papers_rules_for_rendered_rooms_are_configured():
    for name in ("dyce", "mp3d_amodal"):
        rules = {rule.name: rule for rule in load_card(name).quality_control}
        assert rules["min_visible_share"] == Rule("min_visible_share", {"value": 0.1})
        assert rules["max_image_share"].options == {"value": 0.9}
        assert "wall" in rules["exclude_categories"].options["patterns"]
    for name in ("cocoa", "kitti360_aps"):
        assert [rule.name for rule in load_card(name).quality_control] == ["exclude_stuff"]


def test_a_description_with_an_unknown_key_is_refused(tmp_path):
    text = (CONFIG_DIR / "kins.yaml").read_text()
    (tmp_path / "kins.yaml").write_text(text.replace("licence:", "license:"))
    with pytest.raises(ValueError, match=r"must have the keys layout, licence.*got .*license"):
        load_card("kins", tmp_path)


def test_a_missing_description_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="data set kins must be described in"):
        load_card("kins", tmp_path)
