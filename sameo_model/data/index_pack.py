"""Turn a chunk of jobs into index rows; the part of building an index that runs on all cores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.index_format import CROWD_ROW, INSTANCE_ROW, InstanceFlag
from sameo_model.data.rle import rle_area, rle_box_xywh
from sameo_model.data.source import ParsedCrowd, ParsedInstance, Source
from sameo_model.data.types import DatasetFormatError


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """Index rows of some jobs.

    Attributes:
        rows: INSTANCE_ROW (R,); offsets are relative to `masks`, `category` to `categories`.
        crowds: CROWD_ROW (C,), likewise; not numbered yet.
        masks: Counts and source ids of the rows.
        categories: (number, name or None) of the classes in this chunk.
        image_hw: Size of the masks by image row.
        defects: What the rules found.
        num_jobs: How many jobs were worked on.
    """

    rows: np.ndarray
    crowds: np.ndarray
    masks: bytes
    categories: list[tuple[int, str | None]]
    image_hw: dict[int, tuple[int, int]]
    defects: DefectLog
    num_jobs: int


def pack_chunk(work: tuple[Source, list[tuple[int, Any]]]) -> PackedChunk:
    """Parse the jobs of a chunk and pack their instances."""
    source, jobs = work
    defects = DefectLog()
    rows: list[tuple[Any, ...]] = []
    crowds: list[tuple[int, ...]] = []
    masks = bytearray()
    categories: dict[tuple[int, str | None], int] = {}
    sizes: dict[int, tuple[int, int]] = {}
    for image_row, job in jobs:
        for instance in _parse(source, job, defects):
            sizes[image_row] = instance.image_hw
            pair = (instance.category_id, instance.category)
            category = categories.setdefault(pair, len(categories))
            if isinstance(instance, ParsedCrowd):
                counts = instance.rle["counts"]
                crowds.append((image_row, 0, category, len(masks), len(counts)))
                masks += counts
                continue
            rows.append(_pack(instance, image_row, category, masks))
    return PackedChunk(
        rows=np.array(rows, dtype=INSTANCE_ROW),
        crowds=np.array(crowds, dtype=CROWD_ROW),
        masks=bytes(masks),
        categories=list(categories),
        image_hw=sizes,
        defects=defects,
        num_jobs=len(jobs),
    )


def _parse(source: Source, job: Any, defects: DefectLog) -> Iterator[ParsedInstance | ParsedCrowd]:
    """Parse a job; a field of a type or value that its reader did not foresee costs this record.

    Raises:
        RuntimeError: If the reader itself has a fault: it misses an attribute or a key.
    """
    try:
        yield from filter(None, source.parse(job, defects))
    except DatasetFormatError:
        raise
    except (ArithmeticError, TypeError, ValueError):
        defects.add(Defect.MALFORMED_RECORD, _name(job))
    except (AttributeError, LookupError) as error:
        raise RuntimeError(
            f"the reader of {source.dataset} has a fault of its own ({type(error).__name__}: "
            f"{error}, at record {_name(job)}); please report it with this record"
        ) from error


def _name(job: Any) -> str:
    record = job[0] if isinstance(job, tuple) else job
    return str(record.get("id") if isinstance(record, dict) else record)[:80]


def _pack(
    instance: ParsedInstance, image_row: int, category: int, masks: bytearray
) -> tuple[Any, ...]:
    amodal, visible = instance.amodal_rle, instance.visible_rle
    offset = len(masks)
    flags = InstanceFlag(0)
    amodal_length = visible_length = amodal_area = visible_area = 0
    amodal_box = visible_box = (0.0, 0.0, 0.0, 0.0)
    if amodal is not None:
        flags |= InstanceFlag.HAS_AMODAL
        amodal_length, amodal_area = len(amodal["counts"]), rle_area(amodal)
        amodal_box = rle_box_xywh(amodal)
        masks += amodal["counts"]
    if visible is not None:
        flags |= InstanceFlag.HAS_VISIBLE
        if visible is amodal:
            flags |= InstanceFlag.VISIBLE_IS_AMODAL
            visible_area, visible_box = amodal_area, amodal_box
        else:
            visible_length, visible_area = len(visible["counts"]), rle_area(visible)
            visible_box = rle_box_xywh(visible)
            masks += visible["counts"]
    if instance.is_stuff:
        flags |= InstanceFlag.IS_STUFF
    source_id = instance.source_id.encode()[:32767]
    masks += source_id
    return (
        image_row,
        instance.annotation_id,
        category,
        offset,
        amodal_length,
        visible_length,
        len(source_id),
        int(flags),
        amodal_area,
        visible_area,
        amodal_box,
        visible_box,
        math.nan if instance.stated_rate is None else instance.stated_rate,
    )
