"""WALT (Reddy et al., CVPR 2022): composites with exact masks, and the raw detections."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, RawInstance, check_instance
from sameo_model.data.json_stream import iter_json
from sameo_model.data.readers.amodal_coco import amodal_coco_source
from sameo_model.data.readers.layout import only_split
from sameo_model.data.rle import encode_mask
from sameo_model.data.source import RECORD_ERRORS, ImageEntry, Listing, Source
from sameo_model.data.types import AmodalInstance, DatasetFormatError
from sameo_model.runtime.images import decode_image, without_hidden

_COMPOSITE_FOLDERS = {"train": "cwalt_train", "test": "cwalt_test"}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find composites: ours (`annotations.json`), or WALT's own (`Segmentation/*.npz`)."""
    folder = root / split if split and (root / split).is_dir() else root
    if (folder / "annotations.json").is_file():
        return [amodal_coco_source(folder / "annotations.json", dataset="walt", split=split or "")]
    found = {
        name: path
        for name, folder_name in _COMPOSITE_FOLDERS.items()
        for path in (root / folder_name, root / "data" / folder_name)
        if (path / "Segmentation").is_dir()
    }
    if not found and (root / "Segmentation").is_dir():
        found = {"all": root}
    if not found:
        raise FileNotFoundError(
            f"walt must have annotations.json, or cwalt_train/Segmentation with npz files, in "
            f"{root}, but neither is there; compose the raw data with `synthesize walt`"
        )
    names = only_split(split, list(found), "walt")
    return [WaltCompositeSource("walt", name, found[name]) for name in names]


def raw_sources(root: Path, split: str | None) -> list[Source]:
    """Find the raw detections `<camera>/<camera>.json`; a split is one camera."""
    cameras = find_cameras(root)
    names = only_split(split, list(cameras), "walt_raw")
    return [RawSource("walt_raw", name, cameras[name]) for name in names]


def find_cameras(root: Path) -> dict[str, Path]:
    """Return the folder of each camera by name.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = [*root.glob("*/*.json"), *root.glob("data/*/*.json"), *root.glob("*.json")]
    candidates = sorted(without_hidden(found, root))
    cameras = {path.stem: path.parent for path in candidates if path.stem == path.parent.name}
    if not cameras:
        raise FileNotFoundError(
            f"walt_raw must have <camera>/<camera>.json in {root}, but no such file is there"
        )
    return cameras


@dataclass
class WaltCompositeSource(Source):
    """WALT's composites: `mask` (N, H, W[, 3]) with 1 visible and 2 hidden."""

    folder: Path

    def files(self) -> list[Path]:
        return [self.folder / "Segmentation"]

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """Yield the mask file of each composite."""
        folder = self.folder / "Segmentation"
        for path in sorted(without_hidden(folder.glob("*.npz"), folder)):
            image_path = self.folder / "images" / f"{path.stem}.jpg"
            yield listing.add(ImageEntry(path.stem, image_path, None)), path

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        path: Path = job
        try:
            with np.load(path, allow_pickle=False) as content:
                labels = content["mask"]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            defects.add(Defect.UNREADABLE_FILE, path.name)
            return
        if labels.ndim == 4:
            labels = labels[..., 0]
        if labels.ndim != 3:
            defects.add(Defect.MALFORMED_RECORD, path.name)
            return
        for number, label in enumerate(labels, start=1):
            raw = RawInstance(
                annotation_id=None,
                category_id=1,
                category="object",
                amodal=encode_mask(label > 0),
                visible=encode_mask(label == 1),
                source_id=f"{path.stem}/{number}",
            )
            image_hw = (label.shape[0], label.shape[1])
            yield check_instance(raw, image_hw, AbsentVisible.SKIP, defects)


class WaltDetection(NamedTuple):
    """One raw detection."""

    number: int  # place in the file, from 1
    frame: str  # stem of the frame's file name
    box_xyxy: np.ndarray  # float64 (4,), pixels of the frame before `scale`
    polygon_xy: np.ndarray  # float64 (P, 2), outline in the same pixels
    confidence: float  # detector's score in [0, 1]
    label_id: int  # 1 or 2 for vehicles


def iter_detections(camera_dir: Path, defects: DefectLog) -> Iterator[WaltDetection]:
    """Yield the detections of a camera in the order of its file.

    Numbers are stored as text: `bbox` "{left,top,width,height,confidence[,id]}" and `segmentation`
    "{x,y,x,y,...}".

    Raises:
        DatasetFormatError: If the file is not a list of detections.
    """
    path = camera_dir / f"{camera_dir.name}.json"
    for number, (key, record) in enumerate(iter_json(path), start=1):
        if (
            key
            or not isinstance(record, dict)
            or not {"bbox", "segmentation", "time"} <= set(record)
        ):
            found = sorted(record) if isinstance(record, dict) else key or type(record).__name__
            raise DatasetFormatError(
                f"{path} must be a list of detections with bbox, segmentation and time, got {found}"
            )
        try:
            left, top, width, height, confidence = _numbers(record["bbox"])[:5]
            polygon = np.array(_numbers(record["segmentation"]), dtype=np.float64)
            label_id = int(record.get("label_id", 0))
            if len(polygon) < 6 or len(polygon) % 2:
                raise ValueError("polygon")
        except RECORD_ERRORS:
            defects.add(Defect.MALFORMED_RECORD, number)
            continue
        yield WaltDetection(
            number=number,
            frame=frame_stem(str(record["time"])),
            box_xyxy=np.array([left, top, left + width, top + height]),
            polygon_xy=polygon.reshape(-1, 2),
            confidence=confidence,
            label_id=label_id,
        )


def _numbers(text: str) -> list[float]:
    """Parse "{1,2.5,...}"."""
    return [float(number) for number in text.strip().strip("{}[]").split(",")]


def frame_stem(time: str) -> str:
    """Turn a time stamp into the form of the frames' names: 2021-05-01T12-30-05.250000.

    A zone at the end is dropped and colons become hyphens.
    """
    time = time.strip().replace(" ", "T")
    time = re.sub(r"(Z|[+]\d\d(:?\d\d)?)$", "", time)
    return time.replace(":", "-")


def find_frames(camera_dir: Path) -> dict[str, Path]:
    """Return the frames of a camera by their stem, over all its weeks."""
    paths = without_hidden(camera_dir.glob("week*/*.jpg"), camera_dir)
    return {path.stem: path for path in sorted(paths)}


def coordinate_scale(detections_extent_xy: tuple[float, float], frame_hw: tuple[int, int]) -> float:
    """Return what detections must be multiplied with to lie in the frames: 1 or 1/2.

    Args:
        detections_extent_xy: Largest x and y of all boxes.
        frame_hw: Height and width of the frames in pixels.
    """
    too_wide = detections_extent_xy[0] > 1.1 * frame_hw[1]
    too_high = detections_extent_xy[1] > 1.1 * frame_hw[0]
    return 0.5 if too_wide or too_high else 1.0


@dataclass
class RawSource(Source):
    """Detections of one camera: visible masks alone, from a detector, not from people."""

    camera_dir: Path

    def files(self) -> list[Path]:
        weeks = sorted(self.camera_dir.glob("week*"))
        return [self.camera_dir / f"{self.camera_dir.name}.json", *weeks]

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """List the frames, all of one size, and yield the detections whose frame exists."""
        frames = find_frames(self.camera_dir)
        image_hw = first_frame_hw(frames)
        rows = {stem: listing.add(ImageEntry(stem, frames[stem], image_hw)) for stem in frames}
        detections = list(iter_detections(self.camera_dir, defects))
        if not detections:
            return
        extent = np.max([detection.box_xyxy[2:] for detection in detections], axis=0)
        scale = coordinate_scale((float(extent[0]), float(extent[1])), image_hw)
        for detection in detections:
            if detection.frame not in rows:
                defects.add(Defect.FRAME_NOT_FOUND, detection.number)
                continue
            if scale != 1:
                defects.add(Defect.SCALED_COORDINATES, detection.number)
            yield rows[detection.frame], (detection, scale, image_hw)

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        detection, scale, image_hw = job
        raw = RawInstance(
            annotation_id=detection.number,
            category_id=detection.label_id,
            category=f"label {detection.label_id}",
            amodal=None,
            visible=[(detection.polygon_xy * scale).ravel().tolist()],
            is_modal=True,
        )
        yield check_instance(raw, image_hw, AbsentVisible.SKIP, defects)


def read_frame(path: Path) -> np.ndarray | None:
    """Return a frame as it is stored, uint8 (H, W, 3), BGR; None if it is absent or damaged."""
    try:
        frame_rgb = decode_image(path.read_bytes(), upright=False)
    except (FileNotFoundError, ValueError):
        return None
    return np.ascontiguousarray(frame_rgb[..., ::-1])


def first_frame_hw(frames: Mapping[str, Path]) -> tuple[int, int]:
    """Return height and width of a camera's frames from the first that can be read.

    Raises:
        DatasetFormatError: If there are no frames, or none can be read.
    """
    for path in frames.values():
        frame_bgr = read_frame(path)
        if frame_bgr is not None:
            return frame_bgr.shape[0], frame_bgr.shape[1]
    raise DatasetFormatError(
        "walt_raw must have frames <camera>/week*/<time>.jpg that can be read, got none"
    )
