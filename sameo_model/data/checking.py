"""Check that a data set is sound: what its reader met, and whether its pictures are there."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from sameo_model.data.defects import MAX_EXAMPLES, total_skipped
from sameo_model.data.index import IndexedDataset
from sameo_model.data.parallel import chunked, ordered_map

CHUNK_IMAGES = 64


@dataclass
class Problem:
    """How often something was found, with the first few file names."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, count: int, examples: list[str]) -> None:
        """Count further cases."""
        self.count += count
        self.examples += examples[: MAX_EXAMPLES - len(self.examples)]


@dataclass
class CheckReport:
    """What a check found.

    Attributes:
        dataset: Name of the data set.
        num_images: Images that annotations list.
        num_instances: Instances that could be read.
        num_skipped: Records that the reader had to skip.
        num_decoded: Pictures that were decoded.
        defects: Rules that the reader applied, see `DefectLog.to_json`.
        missing_images: Pictures that are not there.
        unreadable_images: Decoded pictures that are damaged.
        images_of_other_size: Decoded pictures whose size is not that of the annotations.
    """

    dataset: str
    num_images: int
    num_instances: int
    num_skipped: int
    num_decoded: int
    defects: dict[str, Any]
    missing_images: Problem = field(default_factory=Problem)
    unreadable_images: Problem = field(default_factory=Problem)
    images_of_other_size: Problem = field(default_factory=Problem)

    @property
    def verdict(self) -> str:
        """Return "sound", "usable" (records were repaired or skipped) or "broken"."""
        problems = (self.missing_images, self.unreadable_images, self.images_of_other_size)
        if not self.num_instances or any(problem.count for problem in problems):
            return "broken"
        return "usable" if self.defects else "sound"

    def to_json(self) -> dict[str, Any]:
        """Return everything as a dict."""
        return {"verdict": self.verdict, **asdict(self)}


def check_dataset(
    dataset: IndexedDataset, *, num_decoded: int | None, workers: int, progress: bool = False
) -> CheckReport:
    """Look for every picture and decode some of them.

    Args:
        dataset: Data set as opened, unfiltered.
        num_decoded: How many pictures to decode, spread evenly; None decodes all.
        workers: Number of processes.
        progress: Show a progress bar.
    """
    report = CheckReport(
        dataset=dataset.name,
        num_images=len(dataset),
        num_instances=int(dataset.shown_instances().sum()),
        num_skipped=total_skipped(dataset.defects),
        num_decoded=len(dataset) if num_decoded is None else min(num_decoded, len(dataset)),
        defects=dict(dataset.defects),
    )
    to_decode = set(np.linspace(0, len(dataset) - 1, report.num_decoded).round().astype(int))
    work = (
        [(index, index in to_decode) for index in chunk]
        for chunk in chunked(range(len(dataset)), CHUNK_IMAGES)
    )
    check = partial(_check, dataset)
    # Looking for files alone is quicker than handing it to other processes.
    processes = workers if report.num_decoded else 1
    with tqdm(desc="pictures", total=len(dataset), disable=not progress) as bar:
        for missing, unreadable, other_size, num_images in ordered_map(check, work, processes):
            report.missing_images.add(len(missing), missing)
            report.unreadable_images.add(len(unreadable), unreadable)
            report.images_of_other_size.add(len(other_size), other_size)
            bar.update(num_images)
    return report


def _check(
    dataset: IndexedDataset, indices: list[tuple[int, bool]]
) -> tuple[list[str], list[str], list[str], int]:
    missing, unreadable, other_size = [], [], []
    for index, is_decoded in indices:
        image = dataset[index]
        if not image.path.is_file():
            missing.append(str(image.path))
        elif is_decoded:
            flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
            picture = cv2.imread(str(image.path), flags)
            if picture is None:
                unreadable.append(str(image.path))
            elif image.instances and picture.shape != tuple(image.image_hw):
                other_size.append(f"{image.path}: {picture.shape} not {tuple(image.image_hw)}")
    return missing, unreadable, other_size, len(indices)
