"""Find the image and the class that a front end's file means by a number or a name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sameo_model.data.types import AmodalImage, DatasetFormatError
from sameo_model.evaluation.front_ends.raw import RawFile


class ImageFinder:
    """Finds the image that a file means by a number or a name."""

    def __init__(self, images: Sequence[AmodalImage], raw: RawFile, path: Path) -> None:
        """Look the images of a file up.

        Raises:
            DatasetFormatError: If the file has no image in common with the annotations, or
                lists another number of images by position.
        """
        self._by_id: dict[Any, AmodalImage] = {image.image_id: image for image in images}
        self._by_name: dict[str, AmodalImage] = {}
        for image in images:
            self._by_name[image.path.name] = self._by_name[image.path.stem] = image
        self._by_position = list(images) if raw.has_image_positions else None
        if raw.has_image_positions and raw.num_images != len(images):
            raise DatasetFormatError(
                f"{path} holds results for {raw.num_images} images by position, but the "
                f"annotations have {len(images)}; evaluate on the annotations of that run"
            )
        self._check(raw, path)

    def find(self, name: int | str) -> AmodalImage | None:
        """Return the image that a file calls by this name, or None."""
        if self._by_position is not None:
            return self._by_position[int(name)]
        if name in self._by_id:
            return self._by_id[name]
        if isinstance(name, str):
            bare = PurePosixPath(name.replace("\\", "/"))
            found = self._by_name.get(bare.name) or self._by_name.get(bare.stem)
            return found or (self._by_id.get(int(name)) if name.isdecimal() else None)
        return None

    def _check(self, raw: RawFile, path: Path) -> None:
        if not raw.detections or any(self.find(row.image) for row in raw.detections):
            return
        theirs = ", ".join(str(row.image) for row in raw.detections[:3])
        ours = ", ".join(str(number) for number in list(self._by_id)[:3])
        raise DatasetFormatError(
            f"{path} and the annotations have no image in common (detections: {theirs}, ...; "
            f"annotations: {ours}, ...); give the results of this data set"
        )


class ClassFinder:
    """Finds the number of the class in the annotations."""

    def __init__(
        self,
        categories: Mapping[int, str],
        raw: RawFile,
        path: Path,
        *,
        names: Sequence[str] = (),
        is_strict: bool = False,
    ) -> None:
        """Prepare for a file.

        Args:
            categories: Names of the annotations' classes by number.
            raw: The file's content.
            path: The file, for messages.
            names: The detector's classes in its order; empty for the annotations' by number.
            is_strict: Whether an unknown class is an error; otherwise its number is kept.

        Raises:
            DatasetFormatError: If `names` holds a class that the annotations lack.
        """
        self._categories = categories
        self._numbers = {name: number for number, name in categories.items()}
        self._is_strict = is_strict
        self._positions: list[int] | None = None
        self._path = path
        if raw.has_class_positions:
            self._positions = self._order(names)

    def _order(self, names: Sequence[str]) -> list[int]:
        unknown = [name for name in names if name not in self._numbers]
        if unknown:
            raise DatasetFormatError(
                f"classes {', '.join(unknown)} are not in the annotations, which have "
                f"{', '.join(self._numbers)}; mend --class-names"
            )
        return [self._numbers[name] for name in names] or sorted(self._categories)

    def find(self, name: int | str | None) -> int:
        """Return the number of the class in the annotations, 0 where it has none.

        Raises:
            DatasetFormatError: If the class is unknown and that is an error.
        """
        number: int | None
        if self._positions is not None and isinstance(name, int):
            number = self._positions[name] if name < len(self._positions) else None
        elif isinstance(name, str):
            number = self._numbers.get(name, int(name) if name.isdecimal() else None)
        else:
            number = name
        if number in self._categories or not self._is_strict:
            return number if isinstance(number, int) else 0
        known = ", ".join(f"{n} {label}" for n, label in list(self._categories.items())[:5])
        raise DatasetFormatError(
            f"class {name!r} of {self._path} is not in the annotations, which have {known}, ...; "
            f"map the classes, or evaluate without --class-specific"
        )
