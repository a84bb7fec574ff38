"""Read pickles of arrays and tensors without running what else a pickle may hold."""

from __future__ import annotations

import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np

from sameo_model.data.readers.safe_pickle import load_plain_pickle
from sameo_model.data.types import DatasetFormatError


def load_pickle(path: Path) -> Any:
    """Read a pickle of plain containers, numbers, numpy arrays and PyTorch tensors.

    Raises:
        DatasetFormatError: If the file names any other class or function, or is damaged.
    """
    return load_plain_pickle(path, _ARRAYS_AND_TENSORS)


def load_torch(path: Path) -> Any:
    """Read a file of `torch.save` with plain containers, numbers and tensors.

    Raises:
        DatasetFormatError: If the file names any other class or function, or is damaged.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        raise DatasetFormatError(
            f"{path} must hold plain containers, numbers and tensors only, got "
            f"{named[1] if named else 'something else'}; it is refused because unpickling it "
            f"could run code"
        ) from error
    except Exception as error:
        # A damaged file can raise almost any type.
        raise DatasetFormatError(
            f"{path} must be a whole file of torch.save, but reading it failed "
            f"({type(error).__name__}); write it again"
        ) from error


def _to_bytes(*content: Any) -> bytes:
    # Old protocols write empty bytes as a call without arguments.
    if content:
        raise ValueError(f"bytes() must have no arguments, got {len(content)}")
    return b""


def _reconstruct(kind: object, shape: tuple[int, ...], code: bytes | str) -> np.ndarray:
    if kind is not _ARRAY_CLASS:
        raise ValueError(f"arrays must be plain numpy arrays, got {kind!r}")
    return np.empty(0, code if isinstance(code, str) else code.decode("ascii"))


def _from_buffer(buffer: bytes, dtype: np.dtype, shape: tuple[int, ...], order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


def _load_storage(data: bytes) -> Any:
    """Read the storage inside a pickled tensor; PyTorch's own function would run pickled code."""
    import torch

    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _rebuild_tensor(*arguments: Any) -> Any:
    import torch

    return torch._utils._rebuild_tensor_v2(*arguments)


# Stands for the class, which a pickle must not call.
_ARRAY_CLASS = object()

# numpy 2 moved its core package; files of both kinds are about.
_ARRAYS_AND_TENSORS: dict[tuple[str, str], Any] = {
    ("__builtin__", "bytes"): _to_bytes,
    ("numpy", "ndarray"): _ARRAY_CLASS,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for module, name, function in (
            ("multiarray", "_reconstruct", _reconstruct),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch.storage", "_load_from_bytes"): _load_storage,
    ("collections", "OrderedDict"): dict,
}
