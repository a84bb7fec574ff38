"""Find the objects in anyone's folder of meshes: which files are objects, and what to call them."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from sameo_model.synthesis.blocks import digest_files

# Where an object comes in several formats, the first of these that is there is taken.
FORMATS = (".xml", ".mjcf", ".glb", ".gltf", ".obj", ".ply", ".stl")
_COLLISION_NAME = re.compile(r"(_|-|\b)(col|coll|collision|convex|hull|vhacd|coacd)(_?\d+)?$")
# File and folder names that say how an object is stored, not what it is.
_STORAGE_NAME = re.compile(
    r"(non)?textured(_.*)?|model|mesh(es)?|object|scene|untitled|visual|geometry|main|obj|glb|stl"
    r"|ply|gltf|google_\d+k|tsdf|poisson|clouds|source|textures?|assets?|\d{1,3}",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class MeshFile:
    """One object in a folder."""

    name: str  # category name: of the file, or of its folder where the file's name says nothing
    path: Path  # what to load
    key: str  # path inside the folder, unique


@dataclass(frozen=True)
class Discovery:
    """What a folder holds."""

    objects: tuple[MeshFile, ...]  # the objects, in order of their path
    # mesh files that are parts or other forms of an object, with the reason
    left_out: dict[str, str]
    digest: str  # of names and contents of all files that can decide how an object looks


def find_objects(folder: Path) -> Discovery:
    """Return the objects of a folder and its subfolders.

    Mesh files in or below the folder of an MJCF model that uses meshes are its parts. Collision
    shapes by name (`cup_col.obj`) are left out. Of several files of one object (`cup.obj`,
    `cup.stl`) the richest format counts.

    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If it holds no file of a known format.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder of meshes must exist, got {folder}; correct --meshes")
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    models = {p: _uses_meshes(p) for p in files if p.suffix.lower() in (".xml", ".mjcf")}
    models = {path: uses for path, uses in models.items() if uses is not None}
    owners = [path.parent for path, uses in models.items() if uses]
    found: dict[tuple[Path, str], MeshFile] = {}
    left_out: dict[str, str] = {}
    for path in sorted(files, key=lambda p: (_rank(p), len(p.parts), p)):
        is_mesh = path.suffix.lower() in FORMATS[2:]
        if not is_mesh and path not in models:
            continue
        key = path.relative_to(folder).as_posix()
        home, name = _name(path, folder)
        if is_mesh and any(owner in path.parents for owner in owners):
            left_out[key] = "parts of MJCF models"
        elif is_mesh and _COLLISION_NAME.search(path.stem.lower()):
            left_out[key] = "collision shapes"
        elif (home, name) in found:
            left_out[key] = "other forms of an object"
        else:
            found[home, name] = MeshFile(name, path, key)
    if not found:
        raise ValueError(
            f"{folder} must hold objects ({', '.join(FORMATS)}), got none among {len(files)} "
            f"files; correct --meshes"
        )
    objects = tuple(sorted(found.values(), key=lambda entry: entry.key))
    return Discovery(objects, left_out, _digest(folder, files))


def _rank(path: Path) -> int:
    suffix = path.suffix.lower()
    return FORMATS.index(suffix) if suffix in FORMATS else len(FORMATS)


def _uses_meshes(path: Path) -> bool | None:
    """Return whether an MJCF model refers to mesh files; None if it is no MJCF model."""
    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, UnicodeDecodeError):
        return False if b"<mujoco" in path.read_bytes()[:400] else None
    if root.tag != "mujoco" or (root.find(".//geom") is None and root.find(".//include") is None):
        return None
    return root.find(".//mesh[@file]") is not None


def _name(path: Path, folder: Path) -> tuple[Path, str]:
    """Return the folder that holds all forms of an object, and the object's name."""
    if not _STORAGE_NAME.fullmatch(path.stem):
        return path.parent, path.stem
    for parent in path.parents:
        if parent == folder:
            break
        if not _STORAGE_NAME.fullmatch(parent.name):
            return parent, parent.name
    return path.parent, path.stem


def _digest(folder: Path, files: list[Path]) -> str:
    suffixes = (*FORMATS, ".bin", ".mtl", ".msh", ".jpg", ".jpeg", ".png", ".webp", ".tga", ".bmp")
    return digest_files(folder, (path for path in files if path.suffix.lower() in suffixes))
