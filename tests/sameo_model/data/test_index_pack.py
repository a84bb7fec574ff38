"""A record is malformed, or its reader is: the two are told apart."""

from __future__ import annotations

import pytest

from sameo_model.data.collection import open_dataset
from sameo_model.data.readers.flat_coco import FlatCocoSource
from tests.sameo_model.data import fabricate as fab


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        (lambda source, record: source.absent, "AttributeError: 'FlatCocoSource' object has no"),
        (lambda source, record: record["visible_masque"], "KeyError: 'visible_masque'"),
        (lambda source, record: [][0], "IndexError"),
    ],
    ids=["attribute", "key", "index"],
)
def test_a_fault_of_a_reader_is_no_malformed_record(tmp_path, monkeypatch, fault, sentence):
    fab.amodal_coco(tmp_path)
    monkeypatch.setattr(FlatCocoSource, "raw", fault)
    with pytest.raises(RuntimeError, match=f"reader of amodal_coco has a bug.*{sentence}"):
        open_dataset("amodal_coco", tmp_path)
