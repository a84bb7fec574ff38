"""Streaming writer of amodal COCO, the common form of every data set on disk."""

from __future__ import annotations

import glob
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from sameo_model.data.rle import rle_area, rle_box_xywh
from sameo_model.data.types import AmodalImage, AmodalInstance, CrowdRegion, Rle

NO_CATEGORY = "object"


class AmodalCocoWriter:
    """Write amodal COCO image by image in constant memory; the file appears complete or not at all.

    Use it as a context manager. Images go straight into a temporary file, annotations into a
    second one that is appended on exit; then the result is renamed to its final name.
    """

    def __init__(self, path: Path | str, images_dir: Path | str | None = None) -> None:
        """Prepare a file.

        Args:
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
        """Open the temporary files.

        Raises:
            ValueError: If the path is something else than a file.
        """
        if self.path.exists() and not self.path.is_file():
            raise ValueError(f"annotations must go to a file, but {self.path} is something else")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._remove_leftovers()
        self._temporary = self.path.with_name(f"{self._temporary_prefix}{os.getpid()}")
        self._images_file = self._temporary.open("w")
        # Without a name: it is gone when the process ends, however that happens.
        self._annotations_file = tempfile.TemporaryFile("w+", dir=self.path.parent)
        self._images_file.write('{"images": [')
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        """Join the two parts and rename them into place, or remove them after an error."""
        assert self._images_file is not None
        assert self._annotations_file is not None
        try:
            with self._images_file, self._annotations_file:
                if error_type is None:
                    self._finish(self._images_file, self._annotations_file)
            if error_type is None:
                self._temporary.replace(self.path)
        finally:
            self._temporary.unlink(missing_ok=True)

    @property
    def _temporary_prefix(self) -> str:
        # With the machine's name: a process number says nothing about those of a cluster.
        return f".{self.path.name}.{os.uname().nodename}-"

    def _remove_leftovers(self) -> None:
        """Delete what writers of this file left that were killed on this machine."""
        for path in self.path.parent.glob(f"{glob.escape(self._temporary_prefix)}*"):
            number = path.name.removeprefix(self._temporary_prefix)
            if number.isdigit() and not _is_running(int(number)):
                path.unlink(missing_ok=True)

    def write(self, image: AmodalImage) -> None:
        """Append one image with its instances.

        Annotation ids are kept. Categories are numbered as they come unless the source numbers
        them.

        Raises:
            ValueError: If an instance has no amodal mask, or a category number is used for two
                names.
        """
        annotations = annotation_texts(
            image, lambda one: self.category_id(one.category or NO_CATEGORY, one.category_id)
        )
        self.append([image_text(image, self.images_dir)], annotations)

    def append(self, images: Sequence[str], annotations: Sequence[str]) -> None:
        """Append records that are JSON already, of categories that `category_id` numbered.

        Args:
            images: What `image_text` returned.
            annotations: What `annotation_texts` returned for instances of these images.

        Raises:
            RuntimeError: If the writer is not entered.
        """
        images_file, annotations_file = self._images_file, self._annotations_file
        if images_file is None or annotations_file is None:
            raise RuntimeError("AmodalCocoWriter must be entered before it writes; use `with`")
        for text in images:
            images_file.write(",\n" if self.num_images else "\n")
            images_file.write(text)
            self.num_images += 1
        for text in annotations:
            annotations_file.write(",\n" if self.num_annotations else "\n")
            annotations_file.write(text)
            self.num_annotations += 1

    def append_file(self, path: Path) -> None:
        """Append the content of a file that a writer with the same image folder wrote.

        Raises:
            ValueError: If a category number is used for two names.
        """
        document = json.loads(path.read_bytes())
        for category in document["categories"]:
            self.category_id(category["name"], category["id"])
        self.append(
            [to_text(record) for record in document["images"]],
            [to_text(record) for record in document["annotations"]],
        )

    def category_id(self, name: str, wanted_id: int) -> int:
        """Return the number of a category, which it gets when it is named first.

        Args:
            wanted_id: Its number in the source; 0 takes the next free one.

        Raises:
            ValueError: If the number is used for another name.
        """
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


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def image_text(image: AmodalImage, images_dir: Path) -> str:
    """Return the entry of an image.

    Args:
        images_dir: Folder that `file_name` is relative to.
    """
    height, width = image.image_hw
    record: dict[str, Any] = {
        "id": image.image_id,
        "file_name": Path(os.path.relpath(image.path, images_dir)).as_posix(),
        "height": height,
        "width": width,
    }
    if image.coco_image_ids:
        record["coco_image_ids"] = list(image.coco_image_ids)
    return to_text(record)


def annotation_texts(
    image: AmodalImage, category_id: Callable[[AmodalInstance | CrowdRegion], int]
) -> list[str]:
    """Return the annotations of an image: its instances, then its crowd regions.

    Args:
        category_id: Gives the number of a category in the file.

    Raises:
        ValueError: If an instance has no amodal mask.
    """
    records = [
        annotation_record(image.image_id, one, category_id(one)) for one in image.instances
    ] + [crowd_record(image.image_id, one, category_id(one)) for one in image.crowds]
    return [to_text(record) for record in records]


def annotation_record(image_id: int, instance: AmodalInstance, category_id: int) -> dict[str, Any]:
    """Return the annotation of an instance.

    Args:
        category_id: Number of its category in the file.

    Raises:
        ValueError: If the instance has no amodal mask.
    """
    if instance.amodal_rle is None or instance.amodal_box_xywh is None:
        raise ValueError(
            f"instance {instance.annotation_id} must have an amodal mask to be written as "
            f"amodal COCO, got none; sets of visible masks alone cannot be converted"
        )
    record: dict[str, Any] = {
        "id": instance.annotation_id,
        "image_id": image_id,
        "category_id": category_id,
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


def crowd_record(image_id: int, crowd: CrowdRegion, category_id: int) -> dict[str, Any]:
    """Return the annotation of a crowd region; arguments as for `annotation_record`."""
    return {
        "id": crowd.annotation_id,
        "image_id": image_id,
        "category_id": category_id,
        "segmentation": _rle_to_json(crowd.rle),
        "bbox": list(rle_box_xywh(crowd.rle)),
        "area": rle_area(crowd.rle),
        "iscrowd": 1,
    }


def to_text(record: Mapping[str, Any]) -> str:
    """Return a record as JSON on one line."""
    return json.dumps(record, separators=(",", ":"))


def _rle_to_json(rle: Rle) -> dict[str, Any]:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
