"""Turn a chunk of jobs into index rows; the part of building an index that runs on all cores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.index_format import CROWD_ROW, INSTANCE_ROW, InstanceFlag
from sameo_model.data.rle import rle_area
from sameo_model.data.source import Source
from sameo_model.data.types import AmodalInstance, CrowdRegion, DatasetFormatError, Rle

NO_BOX = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """Index rows of some jobs."""

    # INSTANCE_ROW (R,); offsets are relative to `masks`, `category` to `categories`
    rows: np.ndarray
    crowds: np.ndarray  # CROWD_ROW (C,), likewise; not numbered yet
    masks: bytes  # counts and source ids of the rows
    categories: list[tuple[int, str]]  # (number, name) of the classes in this chunk
    image_hw: dict[int, tuple[int, int]]  # size of the masks by image row
    defects: DefectLog
    num_jobs: int


def pack_chunk(work: tuple[Source, list[tuple[int, Any]]]) -> PackedChunk:
    """Parse the jobs of a chunk and pack their instances."""
    source, jobs = work
    defects = DefectLog()
    rows: list[tuple[Any, ...]] = []
    crowds: list[tuple[int, ...]] = []
    masks = bytearray()
    categories: dict[tuple[int, str], int] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for image_row, job in jobs:
        for item in _parse(source, job, defects):
            pair = (item.category_id, item.category)
            category = categories.setdefault(pair, len(categories))
            if isinstance(item, CrowdRegion):
                rle: Rle | None = item.rle
                crowds.append((image_row, 0, category, len(masks), len(item.rle["counts"])))
                masks += item.rle["counts"]
            else:
                rle = item.amodal_rle or item.visible_rle
                rows.append(_pack(item, image_row, category, masks))
            assert rle is not None
            sizes[image_row] = (rle["size"][0], rle["size"][1])
    return PackedChunk(
        rows=np.array(rows, dtype=INSTANCE_ROW),
        crowds=np.array(crowds, dtype=CROWD_ROW),
        masks=bytes(masks),
        categories=list(categories),
        image_hw=sizes,
        defects=defects,
        num_jobs=len(jobs),
    )


def _parse(source: Source, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | CrowdRegion]:
    """Parse a job; a field of a type or value that its reader did not foresee costs this record.

    Raises:
        RuntimeError: If the reader itself has a bug: it misses an attribute or a key.
    """
    try:
        yield from filter(None, source.parse(job, defects))
    except DatasetFormatError:
        raise
    except (ArithmeticError, TypeError, ValueError):
        defects.add(Defect.MALFORMED_RECORD, _name(job))
    except (AttributeError, LookupError) as error:
        raise RuntimeError(
            f"the reader of {source.dataset} has a bug ({type(error).__name__}: "
            f"{error}, at record {_name(job)}); please report it with this record"
        ) from error


def _name(job: Any) -> str:
    record = job[0] if isinstance(job, tuple) else job
    return str(record.get("id") if isinstance(record, dict) else record)[:80]


def _pack(
    instance: AmodalInstance, image_row: int, category: int, masks: bytearray
) -> tuple[Any, ...]:
    amodal, visible = instance.amodal_rle, instance.visible_rle
    flags = InstanceFlag.IS_STUFF if instance.is_stuff else InstanceFlag(0)
    flags |= InstanceFlag.HAS_AMODAL if amodal else 0
    flags |= InstanceFlag.HAS_VISIBLE if visible else 0
    flags |= InstanceFlag.VISIBLE_IS_AMODAL if visible and visible is amodal else 0
    parts = (
        amodal["counts"] if amodal else b"",
        visible["counts"] if visible and visible is not amodal else b"",
        instance.source_id.encode()[:32767],
    )
    offset = len(masks)
    masks += b"".join(parts)
    rate = instance.stated_occlusion_rate
    return (
        image_row,
        instance.annotation_id,
        category,
        offset,
        *map(len, parts),
        int(flags),
        rle_area(amodal) if amodal else 0,
        rle_area(visible) if visible else 0,
        instance.amodal_box_xywh or NO_BOX,
        instance.visible_box_xywh or NO_BOX,
        math.nan if rate is None else rate,
    )
