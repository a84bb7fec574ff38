"""Files that meshes refer to, whatever system wrote their names, and text of any encoding."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from urllib.parse import unquote

# Folders beside or above a mesh in which exporters put its textures.
_TEXTURE_FOLDERS = (
    *("textures", "texture", "tex", "images", "maps", "materials/textures"),
    *("../textures", "../texture", "../images", "../materials/textures"),
)


def decode_text(content: bytes) -> str:
    """Return text without a byte-order mark; bytes that are not UTF-8 are taken for Latin-1."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def find_file(name: str, folders: list[Path]) -> Path | None:
    """Return the file that a mesh names, or None.

    Names may have backslashes, quotes, a drive, percent escapes or another case. A file that is
    not at its place is looked for by its last part in the folders and where textures usually lie.
    """
    cleaned = name.strip().strip("\"'").replace("\\", "/")
    for text in dict.fromkeys((cleaned, unquote(cleaned))):
        is_absolute = text.startswith("/") or text[1:2] == ":"
        last = PurePosixPath(text).name
        if not last:
            continue
        if not is_absolute:
            for folder in folders:
                if found := _at(folder, text):
                    return found
        for folder in folders:
            for beside in (".", *_TEXTURE_FOLDERS):
                if found := _at(folder, f"{beside}/{last}"):
                    return found
    return None


def _at(folder: Path, name: str) -> Path | None:
    """Return the file of this name in a folder, in another case if it must be."""
    path = folder
    for part in PurePosixPath(name).parts:
        if part in (".", ".."):
            path = path / part
        elif not (path / part).exists():
            try:
                matches = sorted(e for e in path.iterdir() if e.name.lower() == part.lower())
            except OSError:
                return None
            if not matches:
                return None
            path = matches[0]
        else:
            path = path / part
    return path if path.is_file() else None


class MeshResolver:
    """Gives trimesh the files that a mesh names; keeps the names of those that are missing.

    Attributes:
        missing: Names that were asked for in vain.
    """

    def __init__(self, folder: Path, known: dict[str, bytes] | None = None) -> None:
        """Look in a folder; `known` contents come first."""
        self.folder = folder
        self.known = known or {}
        self.missing: list[str] = []

    def get(self, name: str) -> bytes:
        """Return a file's content.

        Raises:
            FileNotFoundError: If it is missing.
        """
        if name in self.known:
            return self.known[name]
        found = find_file(name, [self.folder])
        if found is None:
            self.missing.append(name)
            raise FileNotFoundError(f"{name} is missing")
        return found.read_bytes()

    __getitem__ = get
