"""Elements of large JSON files, one by one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sameo_model.data import json_stream
from sameo_model.data.json_stream import iter_json
from sameo_model.data.types import DatasetFormatError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


def parts_of(document):
    if isinstance(document, list):
        return [("", element) for element in document]
    parts = []
    for key, value in document.items():
        parts += (
            [(key, element) for element in value] if isinstance(value, list) else [(key, value)]
        )
    return parts


@settings(max_examples=60)
@given(
    document=st.dictionaries(st.text(), VALUES) | st.lists(VALUES),
    indent=st.sampled_from([None, 2]),
    chunk=st.integers(1, 9),
)
def test_the_parts_equal_those_of_the_whole_document(tmp_path_factory, document, indent, chunk):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(document, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        # So small that values and numbers are cut between two reads.
        patch.setattr(json_stream, "_CHUNK_CHARACTERS", chunk)
        assert list(iter_json(path)) == parts_of(document)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "an object or a list"),
        ("7", "an object or a list"),
        ('{"a": [1, 2', "',' or ']'"),
        ('{"a": [{"b": 1}, {"b"', "a JSON value"),
        ('{"a" 1}', "':'"),
        ("[1 2]", "',' or ']'"),
    ],
)
def test_a_damaged_document_is_refused_with_what_was_expected(tmp_path, text, expected):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DatasetFormatError, match=rf"must be valid JSON with {expected} at"):
        list(iter_json(path))


def test_the_place_of_the_damage_is_counted_over_all_reads(tmp_path, monkeypatch):
    monkeypatch.setattr(json_stream, "_CHUNK_CHARACTERS", 4)
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2, 3] "b": 4}')
    with pytest.raises(DatasetFormatError, match='at character 16, got \'"b"'):
        list(iter_json(path))


def test_text_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes('{"a": "ü"}'.encode("latin1"))
    with pytest.raises(DatasetFormatError, match="must be UTF-8 text"):
        list(iter_json(path))
