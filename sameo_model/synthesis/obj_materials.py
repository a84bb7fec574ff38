"""Materials of OBJ files as exporters really write them, and the file in a form easy to read.

What MTL files give is read here: names of textures with options, spaces or backslashes, colours,
and what is missing. The OBJ's text is then written anew so that every face has a material with
a plain name, which says how it looks or nothing at all.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from sameo_model.synthesis.mesh_files import decode_text, find_file

LIBRARY = "materials.mtl"
_LIBRARY_LINE = re.compile(r"^[ \t]*mtllib\b[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_USE_LINE = re.compile(r"^[ \t]*usemtl\b[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_FACE_LINE = re.compile(r"^[ \t]*f[ \t]", re.MULTILINE)
_COLOURED_CORNER = re.compile(r"^[ \t]*v(?:[ \t]+[-+.\deE]+){6,}[ \t]*$", re.MULTILINE)
# Options of MTL textures with the number of their values; None: one to three numbers.
_OPTIONS = {
    **dict.fromkeys(("-blendu", "-blendv", "-boost", "-texres", "-clamp", "-bm", "-cc"), 1),
    **dict.fromkeys(("-imfchan", "-type"), 1),
    **dict.fromkeys(("-o", "-s", "-t"), None),
    "-mm": 2,
}
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")


@dataclass
class ObjMaterial:
    """How a material looks."""

    rgb: tuple[float, float, float] | None = None  # colour in [0, 1], or None
    texture: str | None = None  # name of the texture as the file has it; None for none
    library: Path | None = None  # file that it comes from


@dataclass
class PlainObj:
    """An OBJ file that says of each face how it looks."""

    text: str  # the file, with materials named `m0`, `m1`, ... of the library `LIBRARY`.
    files: dict[str, bytes]  # contents of the library and of the textures by name
    # what is missing or damaged; these faces have a material without any look
    notes: list[str] = field(default_factory=list)


def read_plain_obj(path: Path) -> PlainObj:
    """Read an OBJ file and its materials."""
    text = decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("\\\n", " ")
    notes: list[str] = []
    materials = _read_libraries(text, path, notes)
    used = list(dict.fromkeys(_USE_LINE.findall(text)))
    starts_bare = _starts_bare(text)
    has_corner_colours = _COLOURED_CORNER.search(text) is not None
    first = None
    if not used and len(materials) == 1:
        # A scanner's export: one material, and the line that uses it is left out.
        first = next(iter(materials))
        used = [first]
    elif starts_bare and not has_corner_colours:
        notes.append(
            "faces without material: painted anew" if used else "no material: painted anew"
        )
    numbers = {name: f"m{k}" for k, name in enumerate(used)}
    files: dict[str, bytes] = {}
    library = [
        "\n".join(_write(numbers[name], _look_up(name, materials, notes), path, files, notes))
        for name in used
    ]
    head = [f"mtllib {LIBRARY}"]
    if first is not None:
        head.append(f"usemtl {numbers[first]}")
    elif starts_bare and not has_corner_colours:
        head.append("usemtl bare")
        library.append("newmtl bare")
    files[LIBRARY] = ("\n".join(library) + "\n").encode()
    text = _LIBRARY_LINE.sub("", text)
    text = _USE_LINE.sub(lambda match: f"usemtl {numbers[match[1]]}", text)
    return PlainObj("\n".join([*head, text]), files, sorted(set(notes)))


def texture_name(entry: str) -> str:
    """Return the file that a `map_Kd` entry names, its options left out."""
    rest = entry.strip()
    while rest.startswith("-"):
        option, _, after = rest.partition(" ")
        if option.lower() not in _OPTIONS:
            break
        values = _OPTIONS[option.lower()]
        rest = after.strip()
        for taken in range(values or 3):
            word, _, after = rest.partition(" ")
            if values is None and (not _NUMBER.match(word) or (taken and not after.strip())):
                break
            rest = after.strip()
    return rest


def _starts_bare(text: str) -> bool:
    """Return whether faces come before the first material is used."""
    face, use = _FACE_LINE.search(text), _USE_LINE.search(text)
    return face is not None and (use is None or face.start() < use.start())


def _read_libraries(text: str, path: Path, notes: list[str]) -> dict[str, ObjMaterial]:
    materials: dict[str, ObjMaterial] = {}
    for entry in dict.fromkeys(_LIBRARY_LINE.findall(text)):
        whole = find_file(entry, [path.parent])
        # One name that may hold spaces, or several names.
        names = [entry] if whole or not entry.split() else entry.split()
        for name in names:
            library = whole or find_file(name, [path.parent])
            if library is None:
                notes.append(f"material file {entry or '(without name)'} is missing")
                continue
            _read_library(library, materials)
    return materials


def _read_library(library: Path, materials: dict[str, ObjMaterial]) -> None:
    current: ObjMaterial | None = None
    for line in io.StringIO(decode_text(library.read_bytes()).replace("\r", "\n")):
        key, _, value = line.strip().replace("\t", " ").partition(" ")
        value = value.strip()
        if key.lower() == "newmtl":
            current = materials.setdefault(value, ObjMaterial(library=library))
        elif current is None:
            continue
        elif key.lower() == "map_kd" and value:
            current.texture = texture_name(value)
        elif key.lower() == "kd":
            current.rgb = _colour(value)


def _colour(value: str) -> tuple[float, float, float] | None:
    words = value.split()
    if not words or not all(_NUMBER.match(word) for word in words[:3]):
        return None
    numbers = [min(max(float(word), 0.0), 1.0) for word in words[:3]]
    red, green, blue = (numbers * 3)[:3] if len(numbers) < 3 else numbers
    return red, green, blue


def _look_up(name: str, materials: dict[str, ObjMaterial], notes: list[str]) -> ObjMaterial:
    """Return a material by its name, in another case if it must be; one without look if absent."""
    if name in materials:
        return materials[name]
    for other, material in materials.items():
        if other.lower() == name.lower():
            return material
    notes.append(f"material {name or '(without name)'} is missing: painted anew")
    return ObjMaterial(library=Path())


def _write(
    number: str, material: ObjMaterial, path: Path, files: dict[str, bytes], notes: list[str]
) -> list[str]:
    """Return the lines of a material in the new library; textures go into `files`."""
    lines = [f"newmtl {number}"]
    if material.texture is not None:
        folders = [path.parent]
        if material.library is not None and material.library.parent != path.parent:
            folders.insert(0, material.library.parent)
        content = _read_texture(material.texture, folders, notes)
        if content is not None:
            files[f"{number}.texture"] = content
            lines.append(f"map_Kd {number}.texture")
            if material.rgb is not None:
                lines.append("Kd {} {} {}".format(*material.rgb))
    elif material.rgb is not None:
        lines.append("Kd {} {} {}".format(*material.rgb))
    elif material.library != Path():
        notes.append("material without colour: painted anew")
    return lines


def _read_texture(name: str, folders: list[Path], notes: list[str]) -> bytes | None:
    shown = name.replace("\\", "/").rpartition("/")[2]
    # Options that nobody knows may stand before the name.
    found = find_file(name, folders) or find_file(name.split()[-1] if name.split() else "", folders)
    if found is None:
        notes.append(f"texture {shown} is missing: painted anew")
        return None
    content = found.read_bytes()
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        notes.append(f"texture {shown} cannot be read ({error}): painted anew")
        return None
    return content
