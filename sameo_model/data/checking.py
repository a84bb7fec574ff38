"""Check that a data set is sound: what its reader met, and whether its images are there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from sameo_model.data.defects import MAX_EXAMPLES, total_skipped
from sameo_model.data.index import IndexedDataset
from sameo_model.data.parallel import chunked, ordered_map
from sameo_model.data.similar_names import hint_of_similar_name
from sameo_model.data.types import AmodalImage
from sameo_model.runtime.image_format import read_orientation
from sameo_model.runtime.images import decode_image

CHUNK_IMAGES = 64
ORIENTATION = (
    "images with an EXIF orientation, which is applied only where it gives the annotated size; "
    "masks drawn in a viewer that applies it lie elsewhere"
)


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
    """What a check found."""

    dataset: str
    num_images: int
    num_instances: int  # instances that could be read
    num_skipped: int
    num_decoded: int
    defects: dict[str, Any]
    missing_images: Problem = field(default_factory=Problem)
    unreadable_images: Problem = field(default_factory=Problem)
    # decoded images whose size is not that of the annotations
    images_of_other_size: Problem = field(default_factory=Problem)
    # decoded images with an EXIF orientation, and whether the size of the annotations says that
    # it is applied
    images_with_orientation: Problem = field(default_factory=Problem)
    # what is wrong with the set as a whole
    fault: str | None = None

    def problems(self) -> dict[str, Problem]:
        """Return what makes the set broken, by name."""
        names = ("missing_images", "unreadable_images", "images_of_other_size")
        return {name: getattr(self, name) for name in names}

    @property
    def verdict(self) -> str:
        """Return "sound", "usable" (something was repaired, skipped or doubtful) or "broken"."""
        if self.fault:
            return "broken"
        if any(problem.count for problem in self.problems().values()):
            return "broken"
        return "usable" if self.defects or self.images_with_orientation.count else "sound"

    def to_json(self) -> dict[str, Any]:
        """Return everything as a dict."""
        return {"verdict": self.verdict, **asdict(self)}


def check_dataset(
    dataset: IndexedDataset, *, num_decoded: int | None, workers: int, progress: bool = False
) -> CheckReport:
    """Look for every image and decode some of them.

    Args:
        num_decoded: How many images to decode, spread evenly; None decodes all.
    """
    num_instances = int(dataset.shown_instances().sum())
    num_skipped = total_skipped(dataset.defects)
    report = CheckReport(
        dataset=dataset.name,
        num_images=len(dataset),
        num_instances=num_instances,
        num_skipped=num_skipped,
        num_decoded=len(dataset) if num_decoded is None else min(num_decoded, len(dataset)),
        defects=dict(dataset.defects),
        fault=dataset.box_agreement["fault"] or _emptiness(num_instances, num_skipped),
    )
    to_decode = set(np.linspace(0, len(dataset) - 1, report.num_decoded).round().astype(int))
    work = (
        [(index, index in to_decode) for index in chunk]
        for chunk in chunked(range(len(dataset)), CHUNK_IMAGES)
    )
    check = partial(_check, dataset)
    # Looking for files alone is quicker than handing it to other processes.
    processes = workers if report.num_decoded else 1
    with tqdm(desc="images", total=len(dataset), disable=not progress) as bar:
        for found, num_images in ordered_map(check, work, processes):
            for name, examples in found.items():
                getattr(report, name).add(len(examples), examples)
            bar.update(num_images)
    missing = report.missing_images
    missing.examples = [_with_hint(path) for path in missing.examples]
    return report


def _emptiness(num_instances: int, num_skipped: int) -> str | None:
    if num_instances:
        return None
    return "no object: " + (
        f"all {num_skipped} annotations are skipped" if num_skipped else "there are no annotations"
    )


def _with_hint(path: str) -> str:
    hint = hint_of_similar_name(Path(path))
    return f"{path}: {hint}" if hint else path


def _check(
    dataset: IndexedDataset, indices: list[tuple[int, bool]]
) -> tuple[dict[str, list[str]], int]:
    """Return what was found by the name of the report's field, and how many images were seen."""
    found: dict[str, list[str]] = defaultdict(list)
    for index, is_decoded in indices:
        image = dataset[index]
        if not image.path.is_file():
            found["missing_images"].append(str(image.path))
        elif is_decoded:
            for name, example in _check_image(image):
                found[name].append(example)
    return found, len(indices)


def _check_image(image: AmodalImage) -> Iterator[tuple[str, str]]:
    content = image.path.read_bytes()
    try:
        stored_hw = decode_image(content, upright=False).shape[:2]
    except ValueError as error:
        yield "unreadable_images", f"{image.path}: {error}"
        return
    annotated_hw = tuple(image.image_hw) if image.instances else stored_hw
    orientation = read_orientation(content)
    upright_hw = stored_hw[::-1] if orientation >= 5 else stored_hw
    if annotated_hw not in (stored_hw, upright_hw):
        exchanged = ", height and width exchanged" if annotated_hw == stored_hw[::-1] else ""
        example = f"{image.path}: {stored_hw} not {annotated_hw}{exchanged}"
        yield "images_of_other_size", example
    elif orientation != 1:
        applied = "not applied" if annotated_hw == stored_hw else "applied"
        yield "images_with_orientation", f"{image.path}: {orientation}, {applied}"
