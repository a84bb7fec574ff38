"""Unpickle plain data without running code from the file."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sameo_model.data.types import DatasetFormatError


def load_plain_pickle(path: Path, extra: Mapping[tuple[str, str], Any] | None = None) -> Any:
    """Read a pickle of dicts, lists, tuples, strings, bytes, numbers and numpy scalars.

    Numpy scalars come back as Python numbers.

    Args:
        path: The pickle.
        extra: What may be called besides, by module and name; it goes before the usual.

    Raises:
        DatasetFormatError: If the file holds anything else, or is damaged.
    """
    with path.open("rb") as file:
        try:
            return _PlainUnpickler(file, path, extra or {}).load()
        except DatasetFormatError:
            raise
        except Exception as error:
            # A damaged pickle can raise almost any type.
            raise DatasetFormatError(
                f"{path} must be a complete pickle of plain data, but reading it failed: {error}"
            ) from error


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, file: BinaryIO, path: Path, extra: Mapping[tuple[str, str], Any]) -> None:
        super().__init__(file)
        self._path = path
        self._allowed = {**_ALLOWED, **extra}

    def find_class(self, module: str, name: str) -> Any:
        allowed = self._allowed.get((module, name))
        if allowed is None:
            raise DatasetFormatError(
                f"{self._path} must hold plain data only, got {module}.{name}; it is refused "
                f"because unpickling it could run code"
            )
        return allowed


def _scalar(dtype: _PlainDtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype=dtype.resolved())[0].item()


class _PlainDtype:
    """What a pickled numpy dtype of a number becomes."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if code not in _NUMBER_CODES:
            raise ValueError(f"numpy type must be a plain number, got {code!r}")
        self._code = code
        self._is_big_endian = False

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._is_big_endian = state[1] == ">"

    def resolved(self) -> np.dtype:
        return np.dtype(self._code).newbyteorder(">" if self._is_big_endian else "<")


def _encode(text: str, encoding: str) -> bytes:
    # Old protocols write bytes as latin-1 text.
    if encoding != "latin1":
        raise ValueError(f"encoding must be latin1, got {encoding!r}")
    return text.encode("latin1")


_NUMBER_CODES = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)} | {
    "f2",
    "f4",
    "f8",
    "b1",
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _PlainDtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
}
