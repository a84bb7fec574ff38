"""Read OBJ, glTF, PLY and STL files of any make: parts with texture or colour, repaired by rule."""

from __future__ import annotations

import importlib.util
import io
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sameo_model.synthesis.assets import ObjectSurface
from sameo_model.synthesis.decimation import MAX_FACES, decimate
from sameo_model.synthesis.mesh_files import MeshResolver, decode_text
from sameo_model.synthesis.obj_materials import read_plain_obj
from sameo_model.synthesis.surfaces import Array, Soup, corner_normals, project_uvs
from sameo_model.synthesis.textures import MAX_TEXTURE_PX, Image, shrink

MAX_BROKEN_SHARE = 0.5  # of faces; a mesh with more is no likeness of its object
DRACO, MESHOPT = "KHR_draco_mesh_compression", "EXT_meshopt_compression"
_WELD_SHARE = 1e-5  # corners nearer than this share of the size are one


@dataclass(frozen=True)
class MeshPart:
    """A piece of a mesh file with one look."""

    triangles: Array  # float64 (F, 3, 3), corners xyz in the file's unit, z up
    # float64 (F, 3, 2), row 0 of the texture at v = 0; None where there are none
    uvs: Array | None = None
    texture: Image | None = None  # uint8 (H, W, 3), RGB, or None
    rgb: tuple[float, float, float] | None = None  # colour in [0, 1], or None
    face_colours: NDArray[np.uint8] | None = None  # (F, 3), RGB, colour of each face, or None
    is_open: bool = False  # whether its inside may be seen, so that both sides are drawn

    @property
    def is_bare(self) -> bool:
        """Return whether the file does not say how the part looks."""
        return self.texture is None and self.rgb is None and self.face_colours is None

    def select(self, keep: NDArray[np.bool_]) -> MeshPart:
        """Return the part with the faces where bool (F,) `keep` is true."""
        colours = None if self.face_colours is None else self.face_colours[keep]
        uvs = None if self.uvs is None else self.uvs[keep]
        return replace(self, triangles=self.triangles[keep], uvs=uvs, face_colours=colours)


def read_parts(path: Path) -> tuple[list[MeshPart], list[str]]:
    """Read a mesh file; nodes of a scene stand where the scene puts them.

    glTF files are turned from y up to z up; other formats are taken as they are.

    Returns:
        The parts, and what was odd about them.

    Raises:
        ValueError: If the file has no faces or is not a mesh.
    """
    import trimesh

    notes: list[str] = []
    resolver = MeshResolver(path.parent)
    try:
        content, suffix = _readable_content(path, resolver, notes), path.suffix.lower()[1:]
        scene = trimesh.load_scene(
            io.BytesIO(content),
            file_type=suffix,
            resolver=resolver,  # type: ignore[arg-type]  # it has what a Resolver has
            process=False,
        )
    except _UnreadableError:
        raise
    except Exception as error:  # of many kinds, and of words that name neither file nor format
        reason = f"{', '.join(resolver.missing)} is missing" if resolver.missing else error
        raise ValueError(f"cannot be read ({reason or type(error).__name__})") from error
    parts = []
    for mesh in scene.dump():
        if isinstance(mesh, trimesh.Trimesh) and len(mesh.faces):
            parts.append(_part(mesh, notes))
    if not parts:
        raise ValueError("has no faces")
    if resolver.missing:
        notes += [f"texture {name} is missing: painted anew" for name in resolver.missing]
        parts = [p if p.texture is not None else replace(p, rgb=None) for p in parts]
    if path.suffix.lower() in (".glb", ".gltf"):
        parts = [replace(p, triangles=p.triangles[..., [0, 2, 1]] * [1, -1, 1]) for p in parts]
    # An STL has no colours to miss.
    if path.suffix.lower() != ".stl" and not notes and any(part.is_bare for part in parts):
        notes.append("no colour: painted anew")
    return parts, sorted(set(notes))


class _UnreadableError(ValueError):
    """The file cannot be read for a reason that is known before it is tried."""


def _readable_content(path: Path, resolver: MeshResolver, notes: list[str]) -> bytes:
    """Return a file's content in a form that trimesh reads whatever program wrote it.

    Raises:
        ValueError: If the file is compressed in a way that cannot be read here.
    """
    suffix = path.suffix.lower()
    if suffix == ".obj":
        plain = read_plain_obj(path)
        resolver.known = plain.files
        notes += plain.notes
        return plain.text.encode()
    content = path.read_bytes()
    if suffix in (".glb", ".gltf"):
        _check_compression(content)
    if suffix == ".gltf" or (suffix == ".stl" and _is_text_stl(content)):
        return decode_text(content).encode()
    if suffix == ".ply":
        head, end, body = content.partition(b"end_header")
        is_text = re.search(rb"^\s*format\s+ascii", head, re.MULTILINE) is not None
        # Names and comments are the only words; what is no ASCII there says nothing.
        return _to_ascii(head) + end + (_to_ascii(body) if is_text else body)
    return content


def _to_ascii(content: bytes) -> bytes:
    return content.decode("ascii", errors="replace").encode("ascii", errors="replace")


def _is_text_stl(content: bytes) -> bool:
    """Return whether an STL is text: binary ones may begin with `solid`, too."""
    is_binary = len(content) == 84 + 50 * int.from_bytes(content[80:84], "little")
    begins = content.lstrip()[:5].lower() == b"solid"
    return begins and b"facet" in content[:4096].lower() and not is_binary


def _check_compression(content: bytes) -> None:
    """Refuse glTF files whose geometry only an extension can unpack.

    Raises:
        ValueError: If the file is such a one.
    """
    if content[:4] == b"glTF":
        length = int.from_bytes(content[12:16], "little")
        content = content[20 : 20 + length]
    try:
        document = json.loads(decode_text(content))
        required = set(document.get("extensionsRequired", ()))
        uses = required | set(document.get("extensionsUsed", ()))
    except (ValueError, AttributeError, TypeError):
        return  # the reader says what is wrong
    if DRACO in uses and (importlib.util.find_spec("DracoPy") is None):
        raise _UnreadableError(
            "is compressed with Draco, which is not read here; export it without compression"
        )
    if MESHOPT in uses:
        raise _UnreadableError(
            "is compressed with meshopt, which is not read here; export it without compression"
        )


def repair_parts(parts: list[MeshPart]) -> tuple[list[MeshPart], list[str]]:
    """Remove faces that cannot be drawn, and make open meshes visible from both sides.

    Returns:
        The parts, and what was repaired.

    Raises:
        ValueError: If too little is left.
    """
    notes = []
    total = sum(len(part.triangles) for part in parts)
    finite = [np.asarray(np.isfinite(p.triangles).all(axis=(1, 2))) for p in parts]
    parts = [part.select(keep) for part, keep in zip(parts, finite, strict=True)]
    lost = total - sum(len(part.triangles) for part in parts)
    if lost > MAX_BROKEN_SHARE * total:
        raise ValueError(f"{lost} of {total} faces have corners that are not finite")
    if lost:
        notes.append(f"{lost} faces with corners that are not finite removed")
    points = np.concatenate([part.triangles.reshape(-1, 3) for part in parts])
    size = float(np.ptp(points, axis=0).max())
    if not 0 < size < 1e12:
        raise ValueError(f"its longest side is {size:g}, which is no size")
    parts = [p.select(np.asarray(_areas(p.triangles / size) > 1e-12)) for p in parts]
    parts = [p for p in parts if len(p.triangles)]
    if not parts:
        raise ValueError("has no faces with an area")
    triangles = np.concatenate([p.triangles for p in parts])
    if is_watertight(triangles):
        if signed_volume(triangles / size) < 0:
            parts = [_flip(part) for part in parts]
            notes.append("turned inside out")
    else:
        parts = [replace(part, is_open=True) for part in parts]
        notes.append("not watertight: drawn from both sides")
    return parts, notes


def parts_to_surfaces(parts: list[MeshPart]) -> tuple[ObjectSurface, ...]:
    """Return parts in metres as surfaces of at most about `MAX_FACES` triangles in all."""
    total = sum(len(part.triangles) for part in parts)
    surfaces = []
    for part in parts:
        budget = max(200, round(MAX_FACES * len(part.triangles) / total))
        uvs, texture = part.uvs, part.texture
        if part.face_colours is not None:
            uvs, texture = _palette(part.face_colours)
        uvs = project_uvs(part.triangles) if uvs is None else uvs
        normals = corner_normals(part.triangles, 60.0)
        soup, normals = decimate(Soup(part.triangles, uvs), normals, budget)
        if part.face_colours is not None:
            soup = soup._replace(uvs=np.repeat(soup.uvs[:, :1], 3, axis=1))
        rgb = part.rgb if texture is None and part.rgb is not None else (1.0, 1.0, 1.0)
        surface = ObjectSurface(soup.triangles, normals, soup.uvs, texture, rgb)
        surfaces.append(_double(surface) if part.is_open else surface)
    return tuple(surfaces)


def is_watertight(triangles: Array) -> bool:
    """Return whether every edge of float64 (F, 3, 3) is used once in each direction."""
    size = float(np.ptp(triangles.reshape(-1, 3), axis=0).max())
    keys = np.round(triangles.reshape(-1, 3) / (size * _WELD_SHARE)).astype(np.int64)
    _, vertex = np.unique(keys, axis=0, return_inverse=True)
    faces = vertex.reshape(-1, 3).astype(np.int64)
    faces = faces[(faces != np.roll(faces, 1, axis=1)).all(axis=1)]
    ahead = np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2)
    count = int(faces.max(initial=0)) + 1
    there = np.sort(ahead[:, 0] * count + ahead[:, 1])
    back = np.sort(ahead[:, 1] * count + ahead[:, 0])
    return bool(len(there) and (there == back).all())


def signed_volume(triangles: Array) -> float:
    """Return the volume that float64 (F, 3, 3) encloses, negative if it is inside out."""
    a, b, c = (triangles - triangles.mean(axis=(0, 1))).transpose(1, 0, 2)
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)


def _areas(triangles: Array) -> Array:
    edges = triangles[:, 1:] - triangles[:, :1]
    return np.asarray(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1))


def _flip(part: MeshPart) -> MeshPart:
    uvs = None if part.uvs is None else part.uvs[:, ::-1]
    return replace(part, triangles=part.triangles[:, ::-1], uvs=uvs)


def _double(surface: ObjectSurface) -> ObjectSurface:
    """Return a surface with a back: the same triangles seen from behind."""
    return replace(
        surface,
        triangles=np.concatenate([surface.triangles, surface.triangles[:, ::-1]]),
        normals=np.concatenate([surface.normals, -surface.normals[:, ::-1]]),
        uvs=np.concatenate([surface.uvs, surface.uvs[:, ::-1]]),
    )


def _part(mesh: Any, notes: list[str]) -> MeshPart:
    triangles = np.asarray(mesh.vertices, np.float64)[mesh.faces]
    visual = mesh.visual
    if visual.kind in ("vertex", "face"):
        colours = np.asarray(visual.face_colors)[:, :3].astype(np.uint8)
        return MeshPart(triangles, face_colours=colours)
    material = getattr(visual, "material", None)
    rgb = _colour(material)
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    try:
        texture = None if image is None else _shrink(image)
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises on damaged images
        notes.append(f"texture cannot be read ({error}): painted anew")
        return MeshPart(triangles)
    if texture is None:
        return MeshPart(triangles, rgb=rgb)
    if getattr(material, "baseColorFactor", None) is not None and rgb is not None:
        texture = (texture * np.array(rgb)).astype(np.uint8)
    uv = getattr(visual, "uv", None)
    if uv is None or not np.isfinite(uv).all():
        notes.append("texture without usable coordinates: projected")
        return MeshPart(triangles, texture=texture)
    uvs = np.asarray(uv, np.float64)[mesh.faces] * [1, -1] + [0, 1]
    return MeshPart(triangles, uvs=uvs, texture=texture)


def _colour(material: Any) -> tuple[float, float, float] | None:
    """Return a material's colour in [0, 1], None where the file gives none."""
    rgba = getattr(material, "baseColorFactor", None)
    if rgba is None and "kd" in getattr(material, "kwargs", {}):
        rgba = material.diffuse  # else a grey that the file does not contain
    if rgba is None:
        return None
    red, green, blue = (np.asarray(rgba, np.float64)[:3] / 255).tolist()
    return red, green, blue


def _shrink(image: Any) -> Image:
    """Return a PIL image as uint8 (H, W, 3), RGB, shrunk."""
    if image.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        grey = (np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8)
        return shrink(np.repeat(grey[..., None], 3, axis=2), MAX_TEXTURE_PX)
    return shrink(np.asarray(image.convert("RGB"), np.uint8), MAX_TEXTURE_PX)


def _palette(face_colours: NDArray[np.uint8]) -> tuple[Array, Image]:
    """Return coordinates float64 (F, 3, 2) and a texture with one pixel for each colour."""
    colours, index = np.unique(face_colours, axis=0, return_inverse=True)
    side = int(np.ceil(np.sqrt(len(colours))))
    texture = np.zeros((side * side, 3), np.uint8)
    texture[: len(colours)] = colours
    index = index.reshape(-1)
    centres = (np.stack([index % side, index // side], axis=1) + 0.5) / side
    return np.repeat(centres[:, None], 3, axis=1), texture.reshape(side, side, 3)
