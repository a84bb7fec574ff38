import dataclasses
import faulthandler
import json
import multiprocessing
import os
import signal
import tracemalloc

import cv2
import numpy as np
import pytest
import trimesh

from sameo_model.synthesis import mesh_library, mesh_making
from sameo_model.synthesis.decomposition import MIN_THICKNESS_M, thicken
from sameo_model.synthesis.mesh_discovery import MeshFile, find_objects
from sameo_model.synthesis.mesh_library import (
    describe_reports,
    find_unit,
    open_library,
    prepare_objects,
)
from sameo_model.synthesis.mesh_making import Sizing, make_ready
from sameo_model.synthesis.mesh_units import choose_unit, guess_unit, unit_of
from tests.sameo_model.synthesis.fabricate_meshes import (
    CORNERS,
    FACES,
    cube,
    lidless_box,
    write_obj,
    write_stl,
)

RANGE_M = (0.03, 0.4)


def ready(path):
    return make_ready(MeshFile(path.stem, path, path.name), Sizing(RANGE_M))


@pytest.mark.parametrize(
    ("longest", "unit", "factor"),
    [
        (0.2, "m", 1.0),
        (200.0, "mm", 0.001),
        (20.0, "cm", 0.01),  # 20 mm is below the range, 20 cm within
        (1.3, "inch", 0.0254),  # 1.3 m, mm and cm are all out of range; 3.3 cm is within
        (5e6, "rescaled", None),
        (1e-7, "rescaled", None),
    ],
)
def test_the_unit_is_the_first_that_makes_the_size_plausible(longest, unit, factor):
    # The geometric middle of 3 cm and 40 cm is sqrt(0.012) m = 10.95 cm.
    expected = factor if factor else np.sqrt(0.012) / longest
    assert guess_unit(longest, RANGE_M) == (unit, pytest.approx(expected))


@pytest.mark.parametrize(
    ("sides", "unit"),
    [
        (
            (25, 60, 150),
            "mm",
        ),  # 25 mm is below the range, 0.25 m in cm is within: the others decide
        ((35, 20), "cm"),  # 35 mm would do, but 20 mm would not
        ((0.1, 0.2, 150), "m"),
        ((3, 5), "cm"),
        ((2, 2.9), "inch"),  # 2 and 2.9 cm are below the range
        ((150, 0.15), "m"),  # a draw: the first unit
        ((1e6, 1e-6), None),
        ((), None),
    ],
)
def test_the_unit_of_a_folder_is_the_one_that_most_files_fit(sides, unit):
    assert choose_unit(sides, RANGE_M) == unit


@pytest.mark.parametrize(
    ("longest", "is_given", "unit", "notes"),
    [
        (100, False, "mm", []),
        (25, False, "mm", ["2.5 cm long, outside the plausible sizes"]),
        (1000, False, "mm", ["1 m long, outside the plausible sizes"]),
        (0.2, False, "m", ["not in mm as the other files: taken in m"]),
        (1e7, False, "rescaled", ["size not plausible in any unit: rescaled"]),
        (1000, True, "mm", ["1 m long, outside the plausible sizes"]),
    ],
)
def test_a_file_keeps_the_unit_of_its_folder_or_a_note_says_why_not(longest, is_given, unit, notes):
    found, factor, said = unit_of(longest, RANGE_M, "mm", is_given=is_given)
    assert (found, said) == (unit, notes)
    assert found == "rescaled" or factor == {"mm": 0.001, "m": 1.0}[found]


def test_a_size_that_no_scene_holds_in_the_given_unit_is_refused():
    with pytest.raises(ValueError, match=r"would be 5 m long, .* correct --unit or --mesh-size"):
        unit_of(5, RANGE_M, "m", is_given=True)


def test_a_folder_of_mixed_sizes_is_read_in_one_unit(tmp_path):
    for name, longest in (("small", 25), ("mid", 60), ("big", 150)):
        write_stl(tmp_path / "meshes" / f"{name}.stl", cube((longest / 2, 10, 8)))
    (tmp_path / "meshes" / "broken.stl").write_text("solid nothing")
    discovery = find_objects(tmp_path / "meshes")
    unit = find_unit(tmp_path, discovery, RANGE_M, 1)
    assert unit == "mm"
    reports = list(prepare_objects(tmp_path, discovery, Sizing(RANGE_M, unit), 1))
    sizes = {report.name: (report.unit, report.size_m) for report in reports if not report.skipped}
    assert sizes == {"small": ("mm", 0.025), "mid": ("mm", 0.06), "big": ("mm", 0.15)}
    lines = describe_reports(reports, {}, unit)
    assert lines[1] == "  3 are taken in mm, the unit of the folder (--unit names another)"
    open_library(tmp_path, discovery, reports, unit)
    assert json.loads((tmp_path / "meshes.json").read_text())["unit"] == "mm"
    # A set that goes on decides as it did, without reading the files again.
    (tmp_path / "meshes" / "big.stl").unlink()
    assert find_unit(tmp_path, discovery, RANGE_M, 1) == "mm"


def test_keys_that_look_alike_do_not_share_a_ready_file(tmp_path):
    keys = ("a/b.obj", "a__b.obj", "a%2Fb.obj", f"{'x' * 300}/1.obj", f"{'x' * 300}/2.obj")
    paths = {mesh_library._ready_path(tmp_path, key) for key in keys}
    assert len(paths) == len(keys)
    for path in paths:
        path.write_bytes(b"")  # names that the file system takes
    write_stl(tmp_path / "meshes" / "a" / "b.stl", cube((0.05, 0.03, 0.02)))
    write_stl(tmp_path / "meshes" / "a__b.stl", cube((0.1, 0.03, 0.02)))
    discovery = find_objects(tmp_path / "meshes")
    reports = list(prepare_objects(tmp_path, discovery, Sizing(RANGE_M), 1))
    library = open_library(tmp_path, discovery, reports)
    sizes = [library.load(k)[0].extent.max() for k in range(2)]
    assert sizes == pytest.approx([0.1, 0.2])


@pytest.mark.parametrize("scale", [1e-9, 1e9], ids=["tiny", "huge"])
def test_a_mesh_of_impossible_scale_is_rescaled_and_says_so(scale, tmp_path):
    asset, report = ready(write_stl(tmp_path / "a.stl", cube() * scale))
    assert asset.extent == pytest.approx([np.sqrt(0.012)] * 3, rel=1e-4)
    assert report.notes == ("size not plausible in any unit: rescaled",)


def test_a_file_in_millimetres_is_read_at_its_true_size_with_a_box_as_collider(tmp_path):
    asset, report = ready(write_stl(tmp_path / "a.stl", cube((20, 30, 50))))
    assert (report.unit, report.notes, report.bare) == ("mm", (), (0,))
    assert asset.extent == pytest.approx([0.04, 0.06, 0.1])
    assert asset.colliders[0].shape == "box"
    assert asset.colliders[0].size == pytest.approx((0.02, 0.03, 0.05))


def test_an_open_mesh_is_drawn_from_both_sides_and_stays_hollow(tmp_path):
    asset, report = ready(write_obj(tmp_path / "a.obj", lidless_box((0.05, 0.05, 0.05))))
    assert report.notes == ("no material: painted anew", "not watertight: drawn from both sides")
    assert report.faces == 2 * 10
    # No convex piece reaches into the middle of the box.
    assert len(asset.colliders) > 1
    for collider in asset.colliders:
        inside = (collider.points.min(0) < -0.02).all() and (collider.points.max(0) > 0.02).all()
        assert not inside


def test_a_mesh_that_is_inside_out_is_turned(tmp_path):
    asset, report = ready(write_stl(tmp_path / "a.stl", cube((0.05, 0.05, 0.05))[:, ::-1]))
    assert report.notes == ("turned inside out",)
    surface = asset.surfaces[0]
    outward = (surface.normals * surface.triangles).sum(axis=2)
    assert outward.min() > 0


def test_a_flat_sheet_collides_with_some_thickness(tmp_path):
    sheet = np.array(
        [[[0, 0, 0], [0.1, 0, 0], [0.1, 0.1, 0]], [[0, 0, 0], [0.1, 0.1, 0], [0, 0.1, 0]]]
    )
    asset, _ = ready(write_obj(tmp_path / "a.obj", sheet))
    assert asset.extent[2] == 0
    assert asset.colliders[0].size == pytest.approx((0.05, 0.05, 0.002))


def test_faces_that_are_not_finite_are_removed(tmp_path):
    triangles = cube((0.05, 0.05, 0.05))
    triangles[0, 0, 0] = np.nan
    _, report = ready(write_stl(tmp_path / "a.stl", triangles))
    assert "1 faces with corners that are not finite removed" in report.notes


def test_a_texture_is_shown_at_the_places_that_its_coordinates_name(tmp_path):
    # Left half red, right half blue; the triangle lies at u 0.25 to 0.75.
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :4, 2], image[:, 4:, 0] = 255, 255  # OpenCV's order is blue, green, red
    cv2.imwrite(str(tmp_path / "skin.png"), image)
    path = write_obj(tmp_path / "a.obj", cube((0.05,) * 3), "newmtl m\nmap_Kd skin.png\n")
    asset, report = ready(path)
    assert (report.notes, report.bare) == ((), ())
    surface = asset.surfaces[0]
    assert (surface.texture[:, 0] == [255, 0, 0]).all()
    assert (surface.texture[:, -1] == [0, 0, 255]).all()
    # v counts upwards in OBJ and downwards from row 0 here: (0.25, 0.25) becomes (0.25, 0.75).
    assert surface.uvs[0] == pytest.approx(np.array([[0.25, 0.75], [0.75, 0.75], [0.75, 0.25]]))


def test_a_missing_texture_is_named_and_the_surface_painted_in_every_scene(tmp_path):
    path = write_obj(tmp_path / "a.obj", cube((0.05,) * 3), "newmtl m\nmap_Kd gone.png\n")
    _, report = ready(path)
    assert (report.notes, report.bare) == (("texture gone.png is missing: painted anew",), (0,))


def test_a_gltf_scene_keeps_poses_and_colours_and_turns_z_up(tmp_path):
    scene = trimesh.Scene()
    material = trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 0, 0, 255])
    box = trimesh.Trimesh(CORNERS * 0.01, FACES, process=False)
    box.visual = trimesh.visual.TextureVisuals(uv=CORNERS[:, :2], material=material)
    scene.add_geometry(box)
    scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([0, 0.1, 0]))
    scene.export(tmp_path / "pair.glb")
    asset, report = ready(tmp_path / "pair.glb")
    # Two cubes of 2 cm, 10 cm apart along the file's y, which is up: 12 cm along our z.
    assert asset.extent == pytest.approx([0.02, 0.02, 0.12])
    assert [surface.rgb for surface in asset.surfaces] == [(1.0, 0.0, 0.0)] * 2
    assert report.bare == ()


def test_colours_of_faces_become_a_texture_without_mixing(tmp_path):
    mesh = trimesh.Trimesh(CORNERS * 0.05, FACES, process=False)
    colours = np.full((12, 4), 255, np.uint8)
    colours[:6, :3], colours[6:, :3] = (10, 20, 30), (200, 100, 0)
    mesh.visual = trimesh.visual.ColorVisuals(mesh, face_colors=colours)
    mesh.export(tmp_path / "a.ply")
    asset, _ = ready(tmp_path / "a.ply")
    surface = asset.surfaces[0]
    size = surface.texture.shape[0]
    columns, rows = (surface.uvs * size).astype(int).transpose(2, 0, 1)
    assert (columns == columns[:, :1]).all()
    shown = surface.texture[rows[:, 0], columns[:, 0]]
    assert sorted(map(tuple, shown.tolist())) == [(10, 20, 30)] * 6 + [(200, 100, 0)] * 6


@pytest.fixture
def broken_folder(tmp_path):
    """Return a folder of one sound object and one of every kind that cannot be used."""
    folder = tmp_path / "meshes"
    write_stl(folder / "sound.stl", cube((0.05, 0.03, 0.02)))
    trimesh.PointCloud(CORNERS).export(folder / "points.ply")
    write_stl(folder / "point.stl", np.full((4, 3, 3), 0.3))
    write_stl(folder / "nan.stl", np.full((4, 3, 3), np.nan))
    (folder / "empty.obj").write_text("")
    (folder / "cut.glb").write_bytes(b"glTF\x02\x00\x00\x00\xff")
    (folder / "broken.xml").write_text("<mujoco><worldbody><geom type='cat'/></worldbody></mujoco>")
    (folder / "door.xml").write_text(
        "<mujoco><worldbody><body><joint/><geom size='1'/></body></worldbody></mujoco>"
    )
    (folder / "room.xml").write_text(
        "<mujoco><worldbody><geom type='plane' size='1 1 1'/></worldbody></mujoco>"
    )
    return folder


def test_what_cannot_be_used_is_named_with_the_reason_and_skipped(broken_folder, tmp_path):
    discovery = find_objects(broken_folder)
    reports = list(prepare_objects(tmp_path, discovery, Sizing(RANGE_M), workers=1))
    skipped = {report.key: report.skipped for report in reports if report.skipped}
    assert set(skipped) == {entry.key for entry in discovery.objects} - {"sound.stl"}
    assert len(skipped) == 8
    assert skipped["points.ply"] == "has no faces"
    assert skipped["nan.stl"] == "4 of 4 faces have corners that are not finite"
    assert "longest side is 0" in skipped["point.stl"]
    assert skipped["cut.glb"].startswith("cannot be read (")
    assert "has joints" in skipped["door.xml"]
    assert "a scene, not an object" in skipped["room.xml"]
    lines = describe_reports(reports, discovery.left_out)
    assert lines[0] == "1 object ready, 0 of them with a note; 8 skipped"
    assert "  skipped points.ply: has no faces" in lines
    library = open_library(tmp_path, discovery, reports)
    assert library.names == ("sound",)
    assert (tmp_path / "meshes.json").is_file()
    asset, bare = library.load(0)
    assert bare == (0,)
    assert asset.extent == pytest.approx([0.1, 0.06, 0.04], abs=1e-6)


def test_a_ready_object_is_not_made_again(tmp_path):
    path = write_stl(tmp_path / "meshes" / "a.stl", cube((0.05, 0.03, 0.02)))
    discovery = find_objects(tmp_path / "meshes")
    first = list(prepare_objects(tmp_path, discovery, Sizing(RANGE_M), workers=1))
    path.unlink()
    assert list(prepare_objects(tmp_path, discovery, Sizing(RANGE_M), workers=1)) == first


def test_a_folder_of_broken_objects_only_is_refused(tmp_path):
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "a.obj").write_text("")
    discovery = find_objects(tmp_path / "meshes")
    reports = list(prepare_objects(tmp_path, discovery, Sizing(RANGE_M), workers=1))
    with pytest.raises(ValueError, match=r"none of the 1 objects can be used \(a.obj: "):
        open_library(tmp_path, discovery, reports)


def test_an_object_that_never_rests_collides_as_its_hull(tmp_path, monkeypatch):
    calls = []

    def refuse_first(model, data):
        calls.append(model.ngeom)
        return len(calls) > 1

    monkeypatch.setattr(mesh_making, "settle", refuse_first)
    path = write_obj(tmp_path / "a.obj", lidless_box((0.05, 0.05, 0.05)))
    asset, report = ready(path)
    assert report.notes[-1] == "does not come to rest: collides as its convex hull"
    assert [collider.shape for collider in asset.colliders] == ["hull"]
    assert dataclasses.asdict(report)["colliders"] == 1


def prepare_apart(folder):
    """Prepare in a process that sees what a test has replaced."""
    job = (folder, MeshFile("a", folder / "a.stl", "a.stl"), Sizing(RANGE_M))
    return mesh_library._prepare_apart(multiprocessing.get_context("fork"), job)


def test_an_object_that_takes_too_long_is_skipped(tmp_path, monkeypatch):
    def work_forever(*_):
        while True:
            pass

    monkeypatch.setattr(mesh_library, "CPU_LIMIT_S", 1)
    monkeypatch.setattr(mesh_library, "make_ready", work_forever)
    assert prepare_apart(tmp_path).skipped == "takes longer than 1 s of processor time"


def test_an_object_that_needs_too_much_memory_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setattr(mesh_library, "make_ready", lambda *_: np.zeros(9 << 30, np.uint8))
    assert prepare_apart(tmp_path).skipped == "needs more than 8 GiB of memory"


def test_a_mesh_of_many_corners_takes_little_memory():
    angles = np.linspace(0, 2 * np.pi, 3000)
    sheet = np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) * 0.1
    tracemalloc.start()
    thick = thicken(sheet)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6  # 3000 points take 72 kB, a table of all pairs 72 MB
    assert np.ptp(thick, axis=0) == pytest.approx([0.2, 0.2, MIN_THICKNESS_M], abs=1e-6)


def test_a_crash_of_a_reader_is_named_and_an_interruption_stops(tmp_path, monkeypatch):
    def die_of(number):
        def die(job):
            faulthandler.disable()
            os.kill(os.getpid(), number)

        return die

    monkeypatch.setattr(mesh_library, "_prepare", die_of(signal.SIGSEGV))
    assert prepare_apart(tmp_path).skipped == "makes its reader crash (SIGSEGV)"
    (tmp_path / "a.stl.json").unlink()
    monkeypatch.setattr(mesh_library, "_prepare", die_of(signal.SIGTERM))
    with pytest.raises(RuntimeError, match=r"reading a.stl was stopped \(exit code -15\)"):
        prepare_apart(tmp_path)
