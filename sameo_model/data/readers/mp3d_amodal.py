"""MP3D-Amodal (Zhan et al., CVPR 2024): pickles with COCOA's nesting and run lengths as bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.instances import AbsentVisible, check_instance
from sameo_model.data.readers.cocoa import region_to_raw
from sameo_model.data.readers.layout import choose_splits, find_folder, join_name
from sameo_model.data.readers.safe_pickle import load_plain_pickle
from sameo_model.data.source import ImageEntry, ParsedInstance, Source
from sameo_model.data.types import DatasetFormatError

# "seleted" is the authors' spelling.
SPLITS = {name: [f"MP3D_seleted_{name}_*.pkl", f"MP3D_*{name}*.pkl"] for name in ("train", "eval")}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the pickles; images lie in `mp3d_train/` and `mp3d_eval/`."""
    files = choose_splits(root, split, SPLITS, "mp3d_amodal")
    return [
        Mp3dSource("mp3d_amodal", name, path, find_folder(root, [f"mp3d_{name}"], "mp3d_amodal"))
        for name, path in files.items()
    ]


@dataclass
class Mp3dSource(Source):
    """One pickle; its images and annotations belong together by their place in the lists."""

    dataset: str
    split: str
    pickle_path: Path
    images_dir: Path

    def __getstate__(self) -> dict[str, Any]:
        """Leave the content out of what worker processes receive."""
        return {key: value for key, value in self.__dict__.items() if key != "_content"}

    @cached_property
    def _content(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
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
        return images, annotations

    def files(self) -> list[Path]:
        """Return the pickle."""
        return [self.pickle_path]

    def images(self) -> Iterator[ImageEntry]:
        """Yield the images in the order of the list."""
        for row, entry in enumerate(self._content[0]):
            image_hw = (int(entry["height"]), int(entry["width"]))
            yield ImageEntry(row, None, join_name(self.images_dir, entry["file_name"]), image_hw)

    def jobs(
        self, images: Mapping[int | str, tuple[int, ImageEntry]], defects: DefectLog
    ) -> Iterator[tuple[int, Any]]:
        """Yield the annotation of each image."""
        for row, annotation in enumerate(self._content[1]):
            if isinstance(annotation, dict) and isinstance(annotation.get("regions"), list):
                yield row, (row, annotation["regions"], images[row][1].image_hw)
            else:
                defects.add(Defect.MALFORMED_RECORD, row)

    def parse(self, job: Any, defects: DefectLog) -> Iterator[ParsedInstance]:
        """Check the regions of one image."""
        row, regions, image_hw = job
        for number, region in enumerate(regions, start=1):
            if not isinstance(region, dict):
                defects.add(Defect.MALFORMED_RECORD, f"{row}/{number}")
                continue
            raw = region_to_raw(region, f"{row}/{number}")
            instance = check_instance(raw, image_hw, AbsentVisible.SKIP, defects)
            if instance is not None:
                yield instance
