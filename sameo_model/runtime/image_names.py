"""Which image a name means: the one function behind every file that names images."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from posixpath import normpath

from sameo_model.runtime.images import IMAGE_SUFFIXES

_ABSOLUTE = re.compile(r"^(/|[A-Za-z][A-Za-z0-9+.-]*:)")


class AmbiguousNameError(ValueError):
    """A name fits several images equally well."""


def split_name(name: str | PurePath) -> tuple[str, ...]:
    """Return the parts of a path, with slashes or backslashes, without `.` and `..`."""
    text = unicodedata.normalize("NFC", str(name)).replace("\\", "/")
    return tuple(part for part in normpath(text).split("/") if part)


@dataclass(frozen=True)
class NameMatch:
    """The image that a name means."""

    index: int  # its position in the list of images
    num_parts: int  # how many parts of both paths agree, counted from the end
    # why the name could mean another image all the same, in a clause; "" if it cannot
    doubt: str = ""


@dataclass(frozen=True)
class _NamedImage:
    """An image under the paths by which it can be called."""

    paths: tuple[tuple[str, ...], ...]  # its parts; more than one where a link leads to it
    num_own: int  # parts, from the end, that are its name; what stands before may differ elsewhere


class ImageNames:
    """Finds images by name: the longest end of a path that both have in common decides.

    A name may say less than the image's path (`1.png` for `cam1/1.png`), and more than its own
    name (`data/cam1/1.png` for `cam1/1.png`), but nothing else: `cam2/1.png` is another image.
    Backslashes count as slashes. An absolute path of another machine, where folders have other
    names, fits if at least its last folder does. A name without suffix is an image's stem.
    """

    def __init__(self, images: Sequence[str | Path], folder: str | Path | None = None) -> None:
        """Take the images.

        Args:
            images: Their paths. A relative path is all that is known of the image.
            folder: Where the images' own names begin, as the image folder of a data set. None:
                the whole path must not contradict a name.
        """
        self._images = [_to_named_image(path, folder) for path in images]
        self._by_file: dict[str, list[int]] = {}
        self._by_stem: dict[str, list[int]] = {}
        for index, image in enumerate(self._images):
            file_name = image.paths[0][-1]
            self._by_file.setdefault(file_name, []).append(index)
            self._by_stem.setdefault(_stem(file_name), []).append(index)

    def find(self, name: str, *, any_suffix: bool = False) -> NameMatch | None:
        """Return the image that a name means, None if it is none of them.

        Args:
            name: A file name or path, with or without suffix, as any system writes it.
            any_suffix: Whether `1.jpg` may mean `1.png`; the match then says so.

        Raises:
            AmbiguousNameError: If several images fit equally well.
        """
        parts = split_name(name)
        if not parts:
            return None
        matches = self._fitting(name, parts, self._by_file.get(parts[-1], []))
        if not matches and parts[-1] == _stem(parts[-1]):
            matches = self._fitting(name, parts, self._by_stem.get(parts[-1], []))
        elif not matches and any_suffix:
            matches = [
                NameMatch(match.index, match.num_parts, match.doubt or "it has another suffix")
                for match in self._fitting(name, parts, self._by_stem.get(_stem(parts[-1]), []))
            ]
        return self._longest(name, parts, matches)

    def contradicting(self, name: str) -> int | None:
        """Return an image with the file name of `name`, though other folders; None without."""
        parts = split_name(name)
        same = self._by_file.get(parts[-1], []) if parts else []
        return same[0] if same else None

    def _fitting(self, name: str, parts: tuple[str, ...], indices: list[int]) -> list[NameMatch]:
        found = (self._fit(name, parts, index) for index in indices)
        return [match for match in found if match is not None]

    def _fit(self, name: str, parts: tuple[str, ...], index: int) -> NameMatch | None:
        image = self._images[index]
        best = None
        for path in image.paths:
            num = _num_common(path, parts)
            if best is not None and num <= best.num_parts:
                continue
            is_whole = num >= min(len(parts), len(path))
            if is_whole or num >= image.num_own:
                # The folder right before the image's own name is known here: a hint, no proof.
                differs = not is_whole and num == image.num_own and len(parts) > num
                doubt = f"it lies in {path[-num - 1]} here" if differs else ""
                best = NameMatch(index, num, doubt)
            elif num >= 2 and _ABSOLUTE.match(str(name)) and not os.path.exists(name):
                best = NameMatch(index, num, f"only {'/'.join(parts[-num:])} of the path agrees")
        return best

    def _longest(
        self, name: str, parts: tuple[str, ...], matches: list[NameMatch]
    ) -> NameMatch | None:
        if not matches:
            return None
        most = max(match.num_parts for match in matches)
        longest = [match for match in matches if match.num_parts == most]
        # `1.png` is the image of that name before it is short for `cam1/1.png`.
        exact = [one for one in longest if self._images[one.index].num_own == len(parts) == most]
        chosen = exact or longest
        if len(chosen) > 1:
            first, second = ("/".join(self._images[one.index].paths[0]) for one in chosen[:2])
            raise AmbiguousNameError(
                f"'{name}' must mean one image, but {len(chosen)} fit: {first} and {second}; "
                "write the folder into the name"
            )
        return chosen[0]


@dataclass(frozen=True)
class ImageRecords:
    """Which records belong to which images."""

    # for each image the name under which the records know it; None without one
    names: list[str | None]
    absent: list[str] = field(default_factory=list)  # names whose image is not among the images
    # sentences about names that fit, but not without doubt
    doubts: list[str] = field(default_factory=list)


def match_records(images: Sequence[str | Path], names: Iterable[str]) -> ImageRecords:
    """Give each image the record whose name fits it best.

    Args:
        names: Names of the records, all different.

    Raises:
        AmbiguousNameError: If a name fits several images, or two names fit one equally well.
    """
    finder = ImageNames(images)
    chosen: dict[int, tuple[str, NameMatch]] = {}
    absent = []
    for name in names:
        match = finder.find(name)
        if match is None:
            absent.append(name)
            continue
        other, rival = chosen.get(match.index, ("", None))
        if rival is None or match.num_parts > rival.num_parts:
            chosen[match.index] = name, match
        elif match.num_parts == rival.num_parts:
            raise AmbiguousNameError(
                f"{images[match.index]} must have one record, but '{other}' and '{name}' both "
                "name it; remove one of them"
            )
        if rival is not None:
            absent.append(other if match.num_parts > rival.num_parts else name)
    doubts = [
        f"'{name}' is matched with {images[index]}, although {match.doubt}"
        for index, (name, match) in chosen.items()
        if match.doubt
    ]
    found = [chosen[index][0] if index in chosen else None for index in range(len(images))]
    return ImageRecords(found, absent, doubts)


def _to_named_image(path: str | Path, folder: str | Path | None) -> _NamedImage:
    if folder is None and not os.path.isabs(path):
        return _NamedImage((split_name(path),), len(split_name(path)))
    given = split_name(os.path.abspath(path))
    paths = dict.fromkeys([given, split_name(os.path.realpath(path))])
    inside = ".." if folder is None else os.path.relpath(path, folder)
    return _NamedImage(tuple(paths), len(given if inside.startswith("..") else split_name(inside)))


def _num_common(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    """Return how many parts agree, counted from the end; the file's suffix may be missing."""
    num = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other and not (num == 0 and _stem(one) == _stem(other)):
            break
        num += 1
    return num


def _stem(file_name: str) -> str:
    """Return a file name without the ending of an image."""
    stem, dot, suffix = file_name.rpartition(".")
    return stem if f"{dot}{suffix.lower()}" in IMAGE_SUFFIXES else file_name
