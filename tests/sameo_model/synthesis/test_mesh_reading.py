"""Mesh files as other programs and systems write them: looks are found or their lack is said."""

import json
import struct

import cv2
import numpy as np
import pytest
import trimesh

from sameo_model.synthesis.mesh_files import find_file
from sameo_model.synthesis.mesh_reading import read_parts
from sameo_model.synthesis.obj_materials import texture_name
from tests.sameo_model.synthesis.fabricate_meshes import CORNERS, FACES, cube, write_obj, write_stl

RED_RGB = (200, 10, 20)


def write_texture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((4, 4, 3), RED_RGB[::-1], np.uint8))


def look(path):
    """Return texture colour, plain colour and notes of a file with one part."""
    (part,), notes = read_parts(path)
    texture = None if part.texture is None else tuple(part.texture[0, 0].tolist())
    return texture, part.rgb, notes


@pytest.mark.parametrize(
    ("entry", "file"),
    [
        ("skin.png", "skin.png"),
        ("-s 1.0 1.0 1.0 -o 0 0 0 skin.png", "skin.png"),
        ("-blendu on -mm 0.1 0.9 -clamp off skin.png", "skin.png"),
        ("-o 0.5 my skin.png", "my skin.png"),
        ("my red skin.png", "my red skin.png"),
        (r"textures\skin.png", "textures/skin.png"),
        (r"C:\Users\someone\scan\skin.png", "skin.png"),
        ("/home/someone/scan/skin.png", "textures/skin.png"),
        ('"skin.png"', "skin.png"),
        ("SKIN.PNG", "skin.png"),
        ("my%20skin.png", "my skin.png"),
        ("-unknown 3 skin.png", "skin.png"),
        ("./skin.png", "skin.png"),
        ("skin.png", "materials/textures/skin.png"),
    ],
)
def test_a_texture_is_found_however_its_name_is_written(tmp_path, entry, file):
    write_texture(tmp_path / file)
    path = write_obj(tmp_path / "a.obj", cube(), f"newmtl m\nKd 1 1 1\nmap_Kd {entry}\n")
    assert look(path) == (RED_RGB, None, [])


@pytest.mark.parametrize(
    ("entry", "name"),
    [
        ("a.png", "a.png"),
        ("-s 2 a.png", "a.png"),
        ("-s 2 3 4 a b.png", "a b.png"),
        ("-o 1 2 007.png", "007.png"),
        ("-t 1 2", "2"),  # the last word is the file
        ("-imfchan r -type sphere a.png", "a.png"),
        ("-a.png", "-a.png"),
        ("", ""),
    ],
)
def test_options_of_a_texture_are_not_its_name(entry, name):
    assert texture_name(entry) == name


def test_a_library_with_spaces_or_backslashes_in_its_name_is_found(tmp_path):
    write_texture(tmp_path / "my parts" / "skin.png")
    path = write_obj(tmp_path / "a.obj", cube(), "newmtl m\nmap_Kd skin.png\n")
    (tmp_path / "a.mtl").rename(tmp_path / "my parts" / "a 1.mtl")
    path.write_text(path.read_text().replace("mtllib a.mtl", "mtllib my parts\\a 1.mtl"))
    assert look(path) == (RED_RGB, None, [])


def test_a_single_material_that_no_line_uses_is_used(tmp_path):
    write_texture(tmp_path / "skin.png")
    path = write_obj(tmp_path / "a.obj", cube(), "newmtl m\nmap_Kd skin.png\n")
    path.write_text(path.read_text().replace("usemtl m\n", ""))
    assert look(path) == (RED_RGB, None, [])


@pytest.mark.parametrize(
    ("material", "notes"),
    [
        ("", ["no material: painted anew"]),
        ("newmtl m\nNs 10\n", ["material without colour: painted anew"]),
        ("newmtl m\nKd 0.8 0.8 0.8\nmap_Kd x.png\n", ["texture x.png is missing: painted anew"]),
        ("newmtl m\nKd spectral a.rfl\n", ["material without colour: painted anew"]),
    ],
    ids=["none", "no colour", "texture missing", "unknown colour"],
)
def test_a_look_that_is_missing_is_said_and_painted_anew(tmp_path, material, notes):
    path = write_obj(tmp_path / "a.obj", cube(), material)
    (part,), found = read_parts(path)
    assert part.is_bare
    assert found == notes


def test_a_damaged_texture_is_painted_anew(tmp_path):
    (tmp_path / "skin.png").write_bytes(b"\x89PNG nothing more")
    path = write_obj(tmp_path / "a.obj", cube(), "newmtl m\nKd 1 1 1\nmap_Kd skin.png\n")
    texture, rgb, (note,) = look(path)
    assert (texture, rgb) == (None, None)
    assert note.startswith("texture skin.png cannot be read (")


def test_a_texture_of_16_bits_is_not_cut_off(tmp_path):
    grey = np.full((4, 4), 100 * 257, np.uint16)  # 100 of 255
    assert cv2.imwrite(str(tmp_path / "skin.png"), grey)
    path = write_obj(tmp_path / "a.obj", cube(), "newmtl m\nmap_Kd skin.png\n")
    assert look(path) == ((100, 100, 100), None, [])


def test_a_missing_library_is_named_with_the_materials_that_it_should_hold(tmp_path):
    path = write_obj(tmp_path / "a.obj", cube(), "newmtl m\nKd 1 0 0\n")
    (tmp_path / "a.mtl").unlink()
    notes = ["material file a.mtl is missing", "material m is missing: painted anew"]
    assert look(path) == (None, None, notes)


def test_faces_before_the_first_material_are_painted_anew_and_the_others_keep_theirs(tmp_path):
    path = write_obj(tmp_path / "a.obj", cube(), "newmtl Red Paint\nKd 1 0 0\n")
    lines = path.read_text().replace("usemtl Red\n", "").splitlines()
    lines.insert(len(lines) - 6, "usemtl red paint")  # in another case, with a space
    path.write_text("\n".join(lines))
    parts, notes = read_parts(path)
    assert sorted((len(p.triangles), p.rgb) for p in parts if p.rgb) == [(6, (1.0, 0.0, 0.0))]
    assert [len(p.triangles) for p in parts if p.is_bare] == [6]
    assert notes == ["faces without material: painted anew"]


def test_colours_of_corners_are_no_missing_material(tmp_path):
    lines = [f"v {x} {y} {z} 1 0 0" for x, y, z in cube().reshape(-1, 3)]
    lines += [f"f {3 * k + 1} {3 * k + 2} {3 * k + 3}" for k in range(12)]
    (tmp_path / "a.obj").write_text("\n".join(lines))
    (part,), notes = read_parts(tmp_path / "a.obj")
    assert part.face_colours[0].tolist() == [255, 0, 0]
    assert notes == []


def write_latin_obj(folder):
    path = write_obj(folder / "a.obj", cube(), "newmtl m\nmap_Kd skin.png\n")
    write_texture(folder / "skin.png")
    path.write_bytes(b"# caf\xe9 \xff\n" + path.read_bytes().replace(b"usemtl m", b"usemtl m\xe9"))
    library = path.with_suffix(".mtl")
    library.write_bytes(b"# \xe9\n" + library.read_bytes().replace(b"newmtl m", b"newmtl m\xe9"))
    return path


def write_latin_stl(folder):
    path = write_stl(folder / "a.stl", cube())
    path.write_bytes(path.read_bytes().replace(b"solid s", b"solid s\xe9 \xff"))
    return path


def write_latin_ply(folder, encoding):
    folder.mkdir(exist_ok=True)
    mesh = trimesh.Trimesh(CORNERS, FACES, process=False)
    content = mesh.export(file_type="ply", encoding=encoding)
    content = content.replace(b"element vertex", b"comment caf\xe9 \xff\nelement vertex", 1)
    (folder / "a.ply").write_bytes(content)
    return folder / "a.ply"


@pytest.mark.parametrize(
    "write",
    [
        write_latin_obj,
        write_latin_stl,
        lambda folder: write_latin_ply(folder, "ascii"),
        lambda folder: write_latin_ply(folder, "binary"),
    ],
    ids=["obj", "stl", "text ply", "binary ply"],
)
def test_bytes_that_are_not_utf8_do_not_lose_a_file(tmp_path, write):
    (part,), _ = read_parts(write(tmp_path))
    assert np.ptp(part.triangles.reshape(-1, 3), axis=0) == pytest.approx([2, 2, 2])


def test_a_byte_order_mark_and_old_line_ends_are_read(tmp_path):
    path = write_obj(tmp_path / "a.obj", cube(), "newmtl m\nKd 0 1 0\n")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert look(path) == (None, (0.0, 1.0, 0.0), [])


def write_glb(path, document):
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    chunk = struct.pack("<I4s", len(text), b"JSON") + text
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 12 + len(chunk)) + chunk)


@pytest.mark.parametrize(
    ("extension", "name"),
    [("KHR_draco_mesh_compression", "Draco"), ("EXT_meshopt_compression", "meshopt")],
)
def test_a_compressed_gltf_is_named_as_such(tmp_path, extension, name):
    document = {"asset": {"version": "2.0"}, "extensionsUsed": [extension]}
    document["extensionsRequired"] = [extension]
    write_glb(tmp_path / "a.glb", document)
    (tmp_path / "a.gltf").write_text(json.dumps(document))
    for file in ("a.glb", "a.gltf"):
        with pytest.raises(ValueError, match=f"^is compressed with {name}, .* without compression"):
            read_parts(tmp_path / file)


def write_gltf(folder, uri):
    mesh = trimesh.Trimesh(CORNERS * 0.05, FACES, process=False)
    white = trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 255, 255, 255])
    mesh.visual = trimesh.visual.TextureVisuals(uv=CORNERS[:, :2] / 4 + 0.5, material=white)
    for name, content in trimesh.exchange.gltf.export_gltf(trimesh.Scene(mesh)).items():
        (folder / name).write_bytes(content)
    document = json.loads((folder / "model.gltf").read_text())
    document["images"] = [{"uri": uri}]
    document["textures"] = [{"source": 0}]
    document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    (folder / "model.gltf").write_text(json.dumps(document))
    return folder / "model.gltf"


@pytest.mark.parametrize("uri", ["my skin.png", "my%20skin.png", "textures\\my skin.png"])
def test_a_gltf_texture_is_found_however_its_name_is_written(tmp_path, uri):
    write_texture(tmp_path / ("textures" if "\\" in uri else ".") / "my skin.png")
    assert look(write_gltf(tmp_path, uri))[0] == RED_RGB


def test_a_missing_gltf_texture_is_named_and_painted_anew(tmp_path):
    texture, rgb, notes = look(write_gltf(tmp_path, "gone.png"))
    assert (texture, rgb) == (None, None)
    assert notes == ["texture gone.png is missing: painted anew"]


def test_a_file_is_not_looked_for_above_unless_its_name_says_so(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "x.png").write_bytes(b"")
    assert find_file("x.png", [tmp_path / "a" / "b"]) is None
    found = find_file("..\\X.png", [tmp_path / "a" / "b"])
    assert found is not None
    assert found.resolve() == (tmp_path / "a" / "x.png").resolve()
    assert find_file("", [tmp_path]) is None
    assert find_file("..", [tmp_path / "a"]) is None
