"""A data set as a sequence of images over memory-mapped tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from sameo_model.data.index_format import NO_COCO_ID, IndexTables, InstanceFlag
from sameo_model.data.rle import occlusion_rate
from sameo_model.data.types import AmodalImage, AmodalInstance, CrowdRegion, Rle


class IndexedDataset(Sequence[AmodalImage]):
    """Images of a built index; records are made when asked for, nothing is held in memory.

    Attributes:
        categories: Number and name of the class for each value of the table's `category`.
        classes: Names by number of all classes that the source lists, also without instances.
        box_agreement: Whether masks lie where the file's boxes are, see `BoxAgreement.to_json`.
        instance_table: INSTANCE_ROW (R,), read only; all instances, those left out by `select`
            included.
        crowd_table: CROWD_ROW (C,); all crowd regions, which no view leaves out.
        image_table: IMAGE_ROW (I,), read only; all images.
        keep: bool (R,), the instances that this view shows.
        image_rows: int64 (L,), the rows of `image_table` that this view shows, ascending.
    """

    def __init__(
        self,
        tables: IndexTables,
        *,
        keep: np.ndarray | None = None,
        image_rows: np.ndarray | None = None,
    ) -> None:
        self._tables = tables
        self.name: str = tables.meta["dataset"]
        self.defects: Mapping[str, Mapping[str, Any]] = tables.meta["defects"]
        self.box_agreement: Mapping[str, Any] = tables.meta["boxes"]
        self.categories = [(number, str(name)) for number, name in tables.meta["categories"]]
        self.classes: dict[int, str] = dict(tables.meta["classes"])
        self.image_table = tables.images
        self.instance_table = tables.instances
        self.crowd_table = tables.crowds
        self.keep = np.ones(len(tables.instances), dtype=bool) if keep is None else keep
        self.image_rows = np.arange(len(tables.images)) if image_rows is None else image_rows

    def __reduce__(self) -> tuple[Callable[..., IndexedDataset], tuple[Any, ...]]:
        """Pickle little: the tables as their folder, the view only if it leaves something out."""
        keep = None if self.keep.all() else self.keep
        is_whole = len(self.image_rows) == len(self.image_table)
        return _restore, (self._tables, keep, None if is_whole else self.image_rows)

    def select(self, keep: np.ndarray, *, drop_empty: bool = False) -> IndexedDataset:
        """Return a view that shows some of the instances.

        Args:
            keep: bool (R,), instances of `instance_table` to show, as far as they were shown.
            drop_empty: Leave out images that show no instance.
        """
        view = IndexedDataset(self._tables, keep=self.keep & keep, image_rows=self.image_rows)
        if drop_empty:
            view.image_rows = view.image_rows[view.num_instances_per_image() > 0]
        return view

    def take(self, images: Sequence[int] | np.ndarray | slice) -> IndexedDataset:
        """Return a view of some images, by their numbers in this one, ascending."""
        return IndexedDataset(self._tables, keep=self.keep, image_rows=self.image_rows[images])

    def coco_photographs(self) -> set[int]:
        """Return the numbers of the COCO photographs that the images show."""
        ids = self.image_table["coco_image_ids"][self.image_rows]
        return set(np.unique(ids).tolist()) - {NO_COCO_ID}

    def without_photographs(self, coco_image_ids: set[int]) -> IndexedDataset:
        """Return a view without the images that show some COCO photographs."""
        ids = self.image_table["coco_image_ids"][self.image_rows]
        return self.take(np.flatnonzero(~np.isin(ids, list(coco_image_ids)).any(axis=1)))

    def num_instances_per_image(self) -> np.ndarray:
        """Return int64 (L,), how many instances each shown image shows."""
        totals = np.concatenate([[0], np.cumsum(self.keep, dtype=np.int64)])
        first = self.image_table["first_instance"][self.image_rows]
        return totals[first + self.image_table["num_instances"][self.image_rows]] - totals[first]

    def shown_instances(self) -> np.ndarray:
        """Return bool (R,), instances that this view keeps and whose image it shows."""
        image_shown = np.zeros(len(self.image_table), dtype=bool)
        image_shown[self.image_rows] = True
        return self.keep & image_shown[self.instance_table["image_row"]]

    def has_masks(self, kind: InstanceFlag) -> bool:
        """Return whether any shown instance has the kind of mask, HAS_AMODAL or HAS_VISIBLE."""
        return bool((self.instance_table["flags"][self.shown_instances()] & kind).any())

    def has_image(self, path: Path) -> bool:
        """Return whether a file is one of the set's images, shown or not."""
        wanted = path.resolve()
        return any(
            one.endswith(wanted.name) and Path(one).resolve() == wanted
            for one in self._paths(self.image_table)
        )

    def image_paths(self) -> Iterator[str]:
        """Yield the paths of the shown images, quicker than from their records."""
        return self._paths(self.image_table[self.image_rows])

    def _paths(self, rows: np.ndarray) -> Iterator[str]:
        blob = self._tables.paths.tobytes()
        starts, lengths = rows["path_offset"].tolist(), rows["path_length"].tolist()
        for start, length in zip(starts, lengths, strict=True):
            yield blob[start : start + length].decode()

    def category_names(self) -> list[str]:
        """Return the class name for each value of the instance table's `category`."""
        return [name for _, name in self.categories]

    def __len__(self) -> int:
        return len(self.image_rows)

    @overload
    def __getitem__(self, index: int) -> AmodalImage: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[AmodalImage]: ...

    def __getitem__(self, index: int | slice) -> AmodalImage | Sequence[AmodalImage]:
        """Return one image, or a list of them for a slice.

        Raises:
            IndexError: If the index is out of range.
        """
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = self.image_table[self.image_rows[index]]
        first, count = int(row["first_instance"]), int(row["num_instances"])
        height, width = row["image_hw"].tolist()
        shown = first + np.flatnonzero(self.keep[first : first + count])
        offset = int(row["path_offset"])
        path = self._tables.paths[offset : offset + int(row["path_length"])].tobytes().decode()
        return AmodalImage(
            image_id=int(row["image_id"]),
            path=Path(path),
            image_hw=(height, width),
            instances=tuple(self._instance(i, (height, width)) for i in shown.tolist()),
            dataset=self.name,
            coco_image_ids=tuple(i for i in row["coco_image_ids"].tolist() if i != NO_COCO_ID),
            crowds=self._crowds(int(self.image_rows[index]), (height, width)),
        )

    def _crowds(self, image_row: int, image_hw: tuple[int, int]) -> tuple[CrowdRegion, ...]:
        table = self.crowd_table
        first, last = np.searchsorted(table["image_row"], [image_row, image_row + 1]).tolist()
        regions = []
        for row in table[first:last]:
            start = int(row["offset"])
            counts = self._tables.masks[start : start + int(row["length"])].tobytes()
            number, name = self.categories[row["category"]]
            region = CrowdRegion(int(row["annotation_id"]), name, _rle(image_hw, counts), number)
            regions.append(region)
        return tuple(regions)

    def _instance(self, row_number: int, image_hw: tuple[int, int]) -> AmodalInstance:
        row = self.instance_table[row_number]
        flags = int(row["flags"])
        offset = int(row["offset"])
        amodal_end = offset + int(row["amodal_length"])
        visible_end = amodal_end + int(row["visible_length"])
        source_end = visible_end + int(row["source_length"])
        blob = self._tables.masks[offset:source_end].tobytes()
        amodal = visible = None
        if flags & InstanceFlag.HAS_AMODAL:
            amodal = _rle(image_hw, blob[: amodal_end - offset])
        if flags & InstanceFlag.VISIBLE_IS_AMODAL:
            visible = amodal
        elif flags & InstanceFlag.HAS_VISIBLE:
            visible = _rle(image_hw, blob[amodal_end - offset : visible_end - offset])
        category_id, category = self.categories[row["category"]]
        rate = None
        if amodal is not None and visible is not None:
            rate = occlusion_rate(int(row["amodal_area"]), int(row["visible_area"]))
        return AmodalInstance(
            annotation_id=int(row["annotation_id"]),
            category=category,
            amodal_rle=amodal,
            visible_rle=visible,
            amodal_box_xywh=_box(row["amodal_box_xywh"]) if amodal else None,
            visible_box_xywh=_box(row["visible_box_xywh"]) if visible else None,
            occlusion_rate=rate,
            category_id=category_id,
            source_id=blob[visible_end - offset :].decode(),
            stated_occlusion_rate=None
            if np.isnan(row["stated_rate"])
            else float(row["stated_rate"]),
            is_stuff=bool(flags & InstanceFlag.IS_STUFF),
        )


def _restore(
    tables: IndexTables, keep: np.ndarray | None, image_rows: np.ndarray | None
) -> IndexedDataset:
    return IndexedDataset(tables, keep=keep, image_rows=image_rows)


def _rle(image_hw: tuple[int, int], counts: bytes) -> Rle:
    return {"size": list(image_hw), "counts": counts}


def _box(values: np.ndarray) -> tuple[float, float, float, float]:
    x, y, width, height = values.tolist()
    return float(x), float(y), float(width), float(height)
