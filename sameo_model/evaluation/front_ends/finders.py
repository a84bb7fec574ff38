"""Find the image and the class that a front end's file means by a number or a name."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

from sameo_model.data.types import AmodalImage, DatasetFormatError
from sameo_model.evaluation.front_ends.raw import RawDetection, RawFile
from sameo_model.runtime.image_names import AmbiguousNameError, ImageNames


class _Examples:
    """Counts what a note tells of, and keeps the first example."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence
        self._first = ""
        self._num = 0

    def add(self, example: str) -> None:
        self._first = self._first or example
        self._num += 1

    def notes(self) -> list[str]:
        if not self._num:
            return []
        return [f"{self._num} detections {self._sentence} (first: {self._first})"]


class ImageFinder:
    """Finds the image that a record means: its name decides, its number is checked."""

    def __init__(
        self,
        images: Sequence[AmodalImage],
        raw: RawFile,
        path: Path,
        images_dir: Path | None = None,
    ) -> None:
        """Look the images of a file up.

        Args:
            images_dir: Folder that the images' own names are relative to; None takes the deepest
                folder that holds them all.

        Raises:
            DatasetFormatError: If the file has no image in common with the annotations, lists
                another number of images by position, or names one ambiguously.
        """
        self._path = path
        self._images = images
        self._by_id = {image.image_id: image for image in images}
        self._names = ImageNames([image.path for image in images], images_dir or _root(images))
        self._by_position = list(images) if raw.has_image_positions else None
        if raw.has_image_positions and raw.num_images != len(images):
            raise DatasetFormatError(
                f"{path} holds results for {raw.num_images} images by position, but the "
                f"annotations have {len(images)}; evaluate on the annotations of that run"
            )
        self._overruled = _Examples("name another image than their image_id has: the name counts")
        self._doubtful = _Examples("name an image that fits, but not without doubt")
        self._found: dict[Hashable, tuple[AmodalImage | None, str, str]] = {}
        self._stems = self._read_stems(raw.detections)
        self._check(raw, path)

    def find(self, row: RawDetection) -> AmodalImage | None:
        """Return the image of a record, or None.

        Raises:
            DatasetFormatError: If several images fit its name, and its number does not decide.
        """
        image, overruled, doubt = self._look_up_once(row)
        if overruled:
            self._overruled.add(overruled)
        if doubt:
            self._doubtful.add(doubt)
        return image

    def notes(self) -> list[str]:
        """Return sentences about what was found in spite of a contradiction or doubt."""
        notes = [*self._overruled.notes(), *self._doubtful.notes()]
        if self._stems:
            notes.append("image_id is taken for the number in the images' file names")
        return notes

    def _look_up_once(self, row: RawDetection) -> tuple[AmodalImage | None, str, str]:
        key = (row.image, row.name)
        if key not in self._found:
            self._found[key] = self._look_up(row)
        return self._found[key]

    def _look_up(self, row: RawDetection) -> tuple[AmodalImage | None, str, str]:
        """Return the image, how its name overruled its number, and what is doubtful."""
        if self._by_position is not None:
            return self._by_position[int(row.image or 0)], "", ""
        number = row.image if isinstance(row.image, int) else None
        name = row.name or (row.image if isinstance(row.image, str) else None)
        if name is None:
            return self._by_number(number), "", ""
        found, doubt = self._by_name(name, number)
        if found is None and row.name is None and name.isdecimal():
            return self._by_number(int(name)), "", ""
        if row.name is None and name.isdecimal():
            self._check_text(name, found)
        if found is not None and found.image_id == number:
            return found, "", ""
        if number is None or found is None:
            return found, "", doubt
        return found, f"{name} is image {found.image_id}, not {number}", doubt

    def _by_number(self, number: int | None) -> AmodalImage | None:
        if number is None:
            return None
        return (self._stems or self._by_id).get(number)

    def _by_name(self, name: str, number: int | None) -> tuple[AmodalImage | None, str]:
        try:
            match = self._names.find(name, any_suffix=True)
        except AmbiguousNameError as error:
            same = self._by_id.get(number) if number is not None else None
            if same is not None and ImageNames([same.path], same.path.parent).find(name):
                return same, ""
            raise DatasetFormatError(f"{self._path}: {error}") from error
        if match is None:
            return None, ""
        image = self._images[match.index]
        return image, f"{name}: {match.doubt}" if match.doubt else ""

    def _check_text(self, name: str, found: AmodalImage | None) -> None:
        other = self._by_id.get(int(name))
        if found is not None and other is not None and other is not found:
            raise DatasetFormatError(
                f"{self._path}: '{name}' must mean one image, but it is the number of "
                f"{other.path.name} and the name of {found.path.name}; write file names with suffix"
            )

    def _read_stems(self, rows: Sequence[RawDetection]) -> dict[int, AmodalImage]:
        """Return the images by the number in their name, if records have such numbers alone."""
        numbers = {row.image for row in rows if row.name is None and isinstance(row.image, int)}
        if not numbers or len(numbers) < len({row.image for row in rows}):
            return {}
        if self._by_position is not None or numbers & self._by_id.keys():
            return {}
        stems = {
            int(image.path.stem): image for image in self._images if image.path.stem.isdecimal()
        }
        return stems if numbers <= stems.keys() else {}

    def _check(self, raw: RawFile, path: Path) -> None:
        if not raw.detections or any(self._look_up_once(row)[0] for row in raw.detections):
            return
        first = raw.detections[:3]
        theirs = ", ".join(str(row.name or row.image) for row in first)
        is_named = first[0].name is not None or isinstance(first[0].image, str)
        ours = ", ".join(
            image.path.name if is_named else str(image.image_id) for image in self._images[:3]
        )
        raise DatasetFormatError(
            f"{path} and the annotations have no image in common (detections: {theirs}, ...; "
            f"annotations: {ours}, ...); give the results of this data set"
        )


def _root(images: Sequence[AmodalImage]) -> Path | None:
    """Return the deepest folder that holds all images."""
    return Path(os.path.commonpath([image.path.parent for image in images])) if images else None


class ClassFinder:
    """Finds the number of the class in the annotations: a name decides, a number is checked."""

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
            names: The detector's classes in its order; empty for the annotations' by number.
            is_strict: Whether an unknown class is an error; otherwise its number is kept.

        Raises:
            DatasetFormatError: If `names` holds a class that the annotations lack, or is given for
                a file that does not number classes by position.
        """
        self._categories = categories
        self._numbers: dict[str, list[int]] = {}
        for number, name in categories.items():
            self._numbers.setdefault(name, []).append(number)
        self._is_strict = is_strict
        self._positions: list[int] | None = None
        self._path = path
        self._overruled = _Examples(
            "name another class than their category_id has: the name counts"
        )
        if raw.has_class_positions:
            self._positions = self._order(names)
        elif names:
            raise DatasetFormatError(
                f"--class-names is for files that number classes by their position, but {path} "
                f"({raw.format}) has numbers or names of its own; leave it out"
            )

    def _order(self, names: Sequence[str]) -> list[int]:
        unknown = [name for name in names if name not in self._numbers]
        if unknown:
            raise DatasetFormatError(
                f"classes {', '.join(unknown)} are not in the annotations, which have "
                f"{', '.join(self._numbers)}; correct --class-names"
            )
        return [self._numbers[name][0] for name in names] or sorted(self._categories)

    def notes(self) -> list[str]:
        """Return sentences about classes whose name overruled their number."""
        return self._overruled.notes()

    def find(self, row: RawDetection) -> int:
        """Return the number of a record's class in the annotations, 0 where it has none.

        Raises:
            DatasetFormatError: If the class is unknown or ambiguous and that is an error.
        """
        number = row.category
        if self._positions is not None and isinstance(number, int):
            number = self._positions[number] if number < len(self._positions) else None
        name = row.class_name or (number if isinstance(number, str) else None)
        if name is not None:
            number = self._by_name(name, number if isinstance(number, int) else None)
        if number in self._categories or not self._is_strict:
            return number if isinstance(number, int) else 0
        known = ", ".join(f"{n} {label}" for n, label in list(self._categories.items())[:5])
        raise DatasetFormatError(
            f"class {(name if name is not None else row.category)!r} of {self._path} is not in the "
            f"annotations, which have {known}, ...; map the classes, or evaluate without "
            f"--class-specific"
        )

    def _by_name(self, name: str, number: int | None) -> int | None:
        fitting = self._numbers.get(name)
        if not fitting:
            # Where classes do not count, a number of another numbering does no harm.
            if number is not None and not self._is_strict:
                return number
            return int(name) if name.isdecimal() else None
        if number in fitting:
            return number
        if len(fitting) > 1 and self._is_strict:
            raise DatasetFormatError(
                f"class '{name}' of {self._path} must mean one class, but the annotations have "
                f"{fitting} of that name; give category_id"
            )
        if number is not None and self._is_strict:
            self._overruled.add(f"'{name}' is {fitting[0]}, not {number}")
        return fitting[0]
