"""One file per data set: from its original files to the common records."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sameo_model.data.readers import (
    amodal_coco,
    amodal_lvis,
    coco_instances,
    cocoa,
    cocoa_cls,
    d2sa,
    dyce,
    kins,
    kitti360_aps,
    lvis,
    lvvis,
    mp3d_amodal,
    muva,
    pix2gestalt,
    walt,
)
from sameo_model.data.source import Source

READERS: dict[str, Callable[[Path, str | None], list[Source]]] = {
    "cocoa": cocoa.sources,
    "cocoa_cls": cocoa_cls.sources,
    "kins": kins.sources,
    "kitti360_aps": kitti360_aps.sources,
    "d2sa": d2sa.sources,
    "muva": muva.sources,
    "walt": walt.sources,
    "walt_raw": walt.raw_sources,
    "dyce": dyce.sources,
    "mp3d_amodal": mp3d_amodal.sources,
    "pix2gestalt": pix2gestalt.sources,
    "amodal_lvis": amodal_lvis.sources,
    "amodal_coco": amodal_coco.sources,
    "lvis": lvis.sources,
    "lvvis": lvvis.sources,
    "coco_instances": coco_instances.sources,
}
