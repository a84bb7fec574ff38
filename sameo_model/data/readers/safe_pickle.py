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


def _scalar(dtype: np.dtype, data: bytes) -> Any:
    return np.frombuffer(data, dtype, count=1)[0].item()


def _encode(text: str, encoding: str) -> bytes:
    # Old protocols write bytes as latin-1 text.
    if encoding != "latin1":
        raise ValueError(f"encoding must be latin1, got {encoding!r}")
    return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy._core.multiarray", "scalar"): _scalar,
    ("_codecs", "encode"): _encode,
}
