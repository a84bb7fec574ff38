"""MP3D-Amodal (Zhan et al., CVPR 2024): pickles with COCOA's nesting and run lengths as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, check_instance
from sameo_model.data.readers.cocoa import region_to_raw
from sameo_model.data.readers.layout import choose_splits, find, join_name
from sameo_model.data.readers.safe_pickle import load_plain_pickle
from sameo_model.data.source import RECORD_ERRORS, ImageEntry, Listing, Source, record_number
from sameo_model.data.types import AmodalInstance, DatasetFormatError

MPCAT40 = (
    *("void", "wall", "floor", "chair", "door", "table", "picture", "cabinet", "cushion"),
    *("window", "sofa", "bed", "curtain", "chest_of_drawers", "plant", "sink", "stairs"),
    *("ceiling", "toilet", "stool", "towel", "mirror", "tv_monitor", "shower", "column"),
    *("bathtub", "counter", "fireplace", "lighting", "beam", "railing", "shelving", "blinds"),
    *("gym_equipment", "seating", "board_panel", "furniture", "appliances", "clothes"),
    *("objects", "misc", "unlabeled"),
)
"""Matterport3D's classes by number."""

# "seleted" is the authors' spelling.
SPLITS = {name: [f"MP3D_seleted_{name}_*.pkl", f"MP3D_*{name}*.pkl"] for name in ("train", "eval")}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the pickles; images lie in `mp3d_train/` and `mp3d_eval/`."""
    files = choose_splits(root, split, SPLITS, "mp3d_amodal")
    return [
        Mp3dSource("mp3d_amodal", name, path, find(root, [f"mp3d_{name}"], "mp3d_amodal"))
        for name, path in files.items()
    ]


@dataclass
class Mp3dSource(Source):
    """One pickle; its images and annotations belong together by their place in the lists."""

    pickle_path: Path
    images_dir: Path

    def _load(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[int, str]]:
        content = load_plain_pickle(self.pickle_path)
        found = sorted(map(str, content)) if isinstance(content, dict) else type(content).__name__
        try:
            images, annotations = list(content["images"]), list(content["annotations"])
        except (KeyError, TypeError) as error:
            raise DatasetFormatError(
                f"{self.pickle_path} must hold a dict with `images` and `annotations`, got {found}"
            ) from error
        if len(images) != len(annotations):
            raise DatasetFormatError(
                f"{self.pickle_path} must have one annotation per image, got {len(images)} images "
                f"and {len(annotations)} annotations; the file is damaged"
            )
        return images, annotations, _class_names(content.get("categories"))

    def files(self) -> list[Path]:
        return [self.pickle_path]

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        images, annotations, names = self._load()
        for number, (entry, annotation) in enumerate(zip(images, annotations, strict=True), 1):
            image_hw = (int(entry["height"]), int(entry["width"]))
            path = join_name(self.images_dir, entry["file_name"])
            row = listing.add(ImageEntry(number, path, image_hw))
            if isinstance(annotation, dict) and isinstance(annotation.get("regions"), list):
                regions = [self._named(row, region, names) for region in annotation["regions"]]
                yield row, (row, regions, image_hw)
            else:
                defects.add(Defect.MALFORMED_RECORD, row)

    def _named(self, row: int, region: Any, names: Mapping[int, str]) -> Any:
        """Give a region whose class is a number alone the name of it, for the rules on names."""
        number = record_number(region.get("category_id")) if isinstance(region, dict) else None
        if not isinstance(number, Integral) or "name" in region:
            return region
        if int(number) not in names:
            raise DatasetFormatError(
                f"category_id in {self.pickle_path} must be a name, or a number of the file's "
                f"`categories` or of mpcat40 (0 to {len(MPCAT40) - 1}), got {number} in annotation "
                f"{row}; the rules that leave out walls and floors need its name"
            )
        return {**region, "name": names[int(number)]}

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        row, regions, image_hw = job
        for number, region in enumerate(regions, start=1):
            if not isinstance(region, dict):
                defects.add(Defect.MALFORMED_RECORD, f"{row}/{number}")
                continue
            raw = region_to_raw(region, f"{row}/{number}")
            yield check_instance(raw, image_hw, AbsentVisible.SKIP, defects)


def _class_names(categories: Any) -> dict[int, str]:
    """Return the names by number of a list in COCO's form, or of mpcat40 where there is none."""
    if categories is None:
        return dict(enumerate(MPCAT40))
    try:
        return {int(entry["id"]): str(entry["name"]) for entry in categories}
    except RECORD_ERRORS as error:
        raise DatasetFormatError(
            f"`categories` must be a list of `id` and `name`, got {str(categories)[:80]}"
        ) from error
