"""DYCE (Ehsani et al., CVPR 2018): rendered rooms, a text list with one object per line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sameo_model.data.defects import Defect, DefectLog
from sameo_model.data.readers.layout import choose_splits
from sameo_model.data.readers.mask_files import check_mask_files
from sameo_model.data.source import ImageEntry, Listing, Source
from sameo_model.data.types import AmodalInstance

SPLITS = {name: [f"annotations/{name}.txt"] for name in ("train", "val", "test")}


def sources(root: Path, split: str | None) -> list[Source]:
    """Find the lists; `root` is the folder that holds `annotations/` and the image folders."""
    files = choose_splits(root, split, SPLITS, "dyce")
    return [DyceSource("dyce", name, path, root) for name, path in files.items()]


class DyceLine(NamedTuple):
    """One object of a list: three files, as their names stand there, and a tag."""

    image: str
    visible: str
    amodal: str
    tag: str


def parse_line(line: str) -> DyceLine | None:
    """Split a line: image, visible mask, amodal mask, 4 box numbers, tag, full-object image.

    The tag may hold spaces, so it is what remains between the numbers and the last token. The box
    is ignored: which mask it encloses is not documented.

    Returns:
        The fields, or None if the line has too few tokens or no numbers where the box stands.
    """
    tokens = line.replace("\\", "/").split()
    if len(tokens) < 9:
        return None
    try:
        [float(token) for token in tokens[3:7]]
    except ValueError:
        return None
    return DyceLine(tokens[0], tokens[1], tokens[2], " ".join(tokens[7:-1]))


@dataclass
class DyceSource(Source):
    """One list of objects."""

    list_path: Path
    root: Path

    def files(self) -> list[Path]:
        folders = [self.root / name for name in ("modal", "amodal")]
        return [self.list_path, *(folder for folder in folders if folder.is_dir())]

    def jobs(self, listing: Listing, defects: DefectLog) -> Iterator[tuple[int, Any]]:
        """Yield the lines that name an object."""
        for number, line in self._lines():
            source_id = f"{self.list_path.name}:{number}"
            if line is None:
                defects.add(Defect.MALFORMED_RECORD, source_id)
                continue
            if found := listing.find(line.image):
                row, _ = found
            else:
                path = self._find("Images", line.image)
                row = listing.add(ImageEntry(line.image, path, None))
            if line.tag == "objects":
                defects.add(Defect.IGNORED_TAG, source_id)
            else:
                yield row, (line, source_id)

    def parse(self, job: Any, defects: DefectLog) -> Iterator[AmodalInstance | None]:
        """Read the two masks of one object."""
        line, source_id = job
        paths = self._find("amodal", line.amodal), self._find("modal", line.visible)
        if not all(path.is_file() for path in paths):
            defects.add(Defect.INCOMPLETE_SAMPLE, source_id)
            return
        yield check_mask_files(*paths, line.tag, source_id, defects)

    def _find(self, folder: str, name: str) -> Path:
        """Return the file that a list means: a name in its folder, or a path from the root."""
        inside, from_root = self.root / folder / name, self.root / name
        return from_root if from_root.is_file() and not inside.is_file() else inside

    def _lines(self) -> Iterator[tuple[int, DyceLine | None]]:
        with self.list_path.open(encoding="utf-8-sig") as file:
            for number, text in enumerate(file, start=1):
                if text.strip():
                    yield number, parse_line(text)
