"""Streaming writer of amodal COCO, the common form of every data set on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from sameo_model.data.rle import rle_area
from sameo_model.data.types import AmodalImage, AmodalInstance, Rle


class AmodalCocoWriter:
    """Write amodal COCO image by image in constant memory; the file appears complete or not at all.

    Use it as a context manager. Images go straight into a temporary file, annotations into a
    second one that is appended on exit; then the result is renamed to its final name.
    """

    def __init__(self, path: Path | str, images_dir: Path | str | None = None) -> None:
        """Prepare a file.

        Args:
            path: The annotation file to write.
            images_dir: Folder that `file_name` is relative to; default: `images/` beside `path`.
        """
        self.path = Path(path)
        self.images_dir = Path(images_dir) if images_dir else self.path.parent / "images"
        self.num_images = 0
        self.num_annotations = 0
        self._categories: dict[str, int] = {}
        self._images_file: TextIO | None = None
        self._annotations_file: TextIO | None = None

    def __enter__(self) -> AmodalCocoWriter:
        """Open the temporary files."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._images_path = self.path.with_name(f".{self.path.name}.{os.getpid()}.images")
        self._annotations_path = self.path.with_name(f".{self.path.name}.{os.getpid()}.annotations")
        self._images_file = self._images_path.open("w")
        self._annotations_file = self._annotations_path.open("w+")
        self._images_file.write('{"images": [')
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Join the two parts and rename them into place, or remove them after an error."""
        assert self._images_file is not None
        assert self._annotations_file is not None
        with self._images_file, self._annotations_file:
            if error_type is None:
                self._finish(self._images_file, self._annotations_file)
        self._annotations_path.unlink()
        if error_type is None:
            self._images_path.replace(self.path)
        else:
            self._images_path.unlink()

    def write(self, image: AmodalImage) -> None:
        """Append one image with its instances.

        Annotation ids are kept. Categories are numbered as they come unless the source numbers
        them.

        Raises:
            RuntimeError: If the writer is not entered.
            ValueError: If an instance has no amodal mask, or a category number is used for two
                names.
        """
        if self._images_file is None or self._annotations_file is None:
            raise RuntimeError("AmodalCocoWriter must be entered before write; use `with`")
        records = [self._annotation(image, instance) for instance in image.instances]
        self._append(self._images_file, self._image(image), self.num_images)
        self.num_images += 1
        for record in records:
            self._append(self._annotations_file, record, self.num_annotations)
            self.num_annotations += 1

    def append_file(self, path: Path) -> None:
        """Append the content of a file that a writer with the same image folder wrote.

        Raises:
            RuntimeError: If the writer is not entered.
            ValueError: If a category number is used for two names.
        """
        if self._images_file is None or self._annotations_file is None:
            raise RuntimeError("AmodalCocoWriter must be entered before append_file; use `with`")
        document = json.loads(path.read_text())
        for category in document["categories"]:
            self._category_id(category["name"], category["id"])
        for record in document["images"]:
            self._append(self._images_file, record, self.num_images)
            self.num_images += 1
        for record in document["annotations"]:
            self._append(self._annotations_file, record, self.num_annotations)
            self.num_annotations += 1

    def _image(self, image: AmodalImage) -> dict[str, Any]:
        height, width = image.image_hw
        record: dict[str, Any] = {
            "id": image.image_id,
            "file_name": Path(os.path.relpath(image.path, self.images_dir)).as_posix(),
            "height": height,
            "width": width,
        }
        if image.coco_image_ids:
            record["coco_image_ids"] = list(image.coco_image_ids)
        return record

    def _annotation(self, image: AmodalImage, instance: AmodalInstance) -> dict[str, Any]:
        if instance.amodal_rle is None or instance.amodal_box_xywh is None:
            raise ValueError(
                f"instance {instance.annotation_id} must have an amodal mask to be written as "
                f"amodal COCO, got none; modal data sets cannot be converted"
            )
        record: dict[str, Any] = {
            "id": instance.annotation_id,
            "image_id": image.image_id,
            "category_id": self._category_id(instance.category or "object", instance.category_id),
            "segmentation": _rle_to_json(instance.amodal_rle),
            "bbox": list(instance.amodal_box_xywh),
            "area": rle_area(instance.amodal_rle),
            "iscrowd": 0,
        }
        if instance.visible_rle is not None and instance.visible_box_xywh is not None:
            record["visible_mask"] = _rle_to_json(instance.visible_rle)
            record["visible_bbox"] = list(instance.visible_box_xywh)
            record["occlude_rate"] = instance.occlusion_rate
        if instance.source_id:
            record["source_id"] = instance.source_id
        return record

    def _category_id(self, name: str, wanted_id: int) -> int:
        if name not in self._categories:
            used = set(self._categories.values())
            category_id = wanted_id or max(used, default=0) + 1
            if category_id in used:
                other = next(key for key, value in self._categories.items() if value == category_id)
                raise ValueError(
                    f"category number {category_id} must have one name, got {other!r} and "
                    f"{name!r}; pass instances with category_id 0 to number them anew"
                )
            self._categories[name] = category_id
        return self._categories[name]

    @staticmethod
    def _append(file: TextIO, record: dict[str, Any], num_before: int) -> None:
        file.write(",\n" if num_before else "\n")
        json.dump(record, file, separators=(",", ":"))

    def _finish(self, images_file: TextIO, annotations_file: TextIO) -> None:
        images_file.write('\n],\n"annotations": [')
        annotations_file.seek(0)
        while block := annotations_file.read(1 << 20):
            images_file.write(block)
        categories = [
            {"id": category_id, "name": name}
            for name, category_id in sorted(self._categories.items(), key=lambda item: item[1])
        ]
        images_file.write(f'\n],\n"categories": {json.dumps(categories)}}}\n')


def write_amodal_coco(
    path: Path | str, images: Iterable[AmodalImage], images_dir: Path | str | None = None
) -> None:
    """Write images and their instances as one amodal COCO file.

    Args:
        path: The annotation file to write; it is complete or absent, never half written.
        images: Records, consumed one at a time.
        images_dir: Folder that `file_name` is relative to; default: `images/` beside `path`.

    Raises:
        ValueError: If an instance has no amodal mask.
    """
    with AmodalCocoWriter(path, images_dir) as writer:
        for image in images:
            writer.write(image)


def _rle_to_json(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
