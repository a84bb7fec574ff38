"""Read the elements of a large JSON file one by one, in memory for one element."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from sameo_model.data.types import DatasetFormatError

_CHUNK_CHARACTERS = 1 << 20
_SPACE = re.compile(r"[ \t\n\r]*")


def iter_json(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the parts of a JSON document in the order of the file.

    Args:
        path: A file that holds an object or a list, and nothing after it; UTF-8 with or without
            a byte-order mark, or UTF-16 or UTF-32, as `json.loads` reads bytes.

    Yields:
        (key, element) for each element of each list at the top level of an object, (key, value)
        for its other values, and ("", element) for a document that is a list.

    Raises:
        DatasetFormatError: If the file is not valid JSON.
    """
    with path.open("rb") as file:
        encoding = json.detect_encoding(file.read(4))
    with path.open(encoding=encoding) as file:
        cursor = _Cursor(file, path)
        opening = cursor.peek()
        if opening == "[":
            for element in _iter_list(cursor):
                yield "", element
        elif opening == "{":
            yield from _iter_object(cursor)
        else:
            raise cursor.error("an object or a list")
        if cursor.peek():
            raise cursor.error("nothing more", "remove what was appended")


def _iter_object(cursor: _Cursor) -> Iterator[tuple[str, Any]]:
    cursor.take("{")
    if cursor.peek() == "}":
        cursor.take("}")
        return
    while True:
        key = cursor.value()
        cursor.take(":")
        if cursor.peek() == "[":
            for element in _iter_list(cursor):
                yield key, element
        else:
            yield key, cursor.value()
        if cursor.take_any(",}") == "}":
            return


def _iter_list(cursor: _Cursor) -> Iterator[Any]:
    cursor.take("[")
    if cursor.peek() == "]":
        cursor.take("]")
        return
    while True:
        yield cursor.value()
        if cursor.take_any(",]") == "]":
            return


class _Cursor:
    """A place in a text file that parses the value that starts there."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._text = ""
        self._position = 0
        self._consumed = 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not white space, "" at the end of the file."""
        while True:
            self._position = _SPACE.match(self._text, self._position).end()  # type: ignore[union-attr]
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read(_CHUNK_CHARACTERS):
                return ""

    def take(self, character: str) -> None:
        """Step over one expected character."""
        self.take_any(character)

    def take_any(self, characters: str) -> str:
        """Step over one of some expected characters and return it."""
        character = self.peek()
        if not character or character not in characters:
            raise self.error(" or ".join(repr(expected) for expected in characters))
        self._position += 1
        return character

    def value(self) -> Any:
        """Parse one value and step over it."""
        self.peek()
        size = _CHUNK_CHARACTERS
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._position)
                if self._is_whole(value, end) or not self._read(size):
                    self._position = end
                    return value
            except json.JSONDecodeError as error:
                if not self._read(size):
                    raise self.error("a JSON value") from error
            size *= 2

    def _is_whole(self, value: Any, end: int) -> bool:
        # A number at the end of the buffer may go on behind it, also after "1." or "1e".
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self._text[end : end + 1] in tuple(" \t\n\r,]}")
        return True

    def error(self, expected: str, remedy: str = "the file may be truncated") -> DatasetFormatError:
        """Return the error for something else than what was expected here."""
        found = self._text[self._position : self._position + 20]
        return DatasetFormatError(
            f"{self._path} must be valid JSON with {expected} at character "
            f"{self._consumed + self._position}, got {found!r}; {remedy}"
        )

    def _read(self, size: int) -> bool:
        try:
            block = self._file.read(size)
        except UnicodeDecodeError as error:
            raise DatasetFormatError(
                f"{self._path} must be UTF-8 text, but it is not; save it so"
            ) from error
        if not block:
            return False
        self._text = self._text[self._position :] + block
        self._consumed += self._position
        self._position = 0
        return True
