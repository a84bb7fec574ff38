import shutil

import cv2
import mujoco
import numpy as np
import pytest

from sameo_model.synthesis.cameras import PinholeCamera, look_at
from sameo_model.synthesis.generation import generate_scenes, open_output
from sameo_model.synthesis.photographs import find_photographs, paint_object, vary_colours
from sameo_model.synthesis.rendering import SceneRenderer
from sameo_model.synthesis.scenes import SceneConfig
from sameo_model.synthesis.sources import SceneMaterials
from sameo_model.synthesis.stage import Grounds, SceneBuilder


def write_photo(path, image_rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.ascontiguousarray(image_rgb[..., ::-1]))


@pytest.fixture
def folder(tmp_path):
    """Return a folder of three photographs, one in a subfolder: noise, a ramp and plain green."""
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    ramp = np.linspace(0, 255, 64 * 96 * 3).reshape(64, 96, 3).astype(np.uint8)
    write_photo(tmp_path / "photos" / "noise.png", noise)
    write_photo(tmp_path / "photos" / "more" / "ramp.jpg", ramp)
    write_photo(tmp_path / "photos" / "green.png", np.full((40, 50, 3), (0, 200, 0), np.uint8))
    return tmp_path / "photos"


def test_a_crop_follows_from_the_seed_and_has_the_wanted_size(folder):
    photographs = find_photographs(folder)
    crops = [photographs.crop(np.random.default_rng(seed), 64) for seed in (3, 3, 4)]
    assert {crop.shape for crop in crops} == {(64, 64, 3)}
    assert (crops[0] == crops[1]).all()
    assert (crops[0] != crops[2]).any()


def test_a_mirrored_crop_repeats_without_seams(folder):
    (folder / "green.png").unlink()
    crop = find_photographs(folder).crop(np.random.default_rng(1), 64, mirrored=True)
    assert crop.std() > 1
    assert (crop[0] == crop[-1]).all()
    assert (crop[:, 0] == crop[:, -1]).all()


def test_an_unreadable_photograph_is_named_and_left_out(folder, caplog):
    sound = find_photographs(folder)
    content = (folder / "noise.png").read_bytes()
    (folder / "cut.png").write_bytes(content[:40])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no photograph")
    assert find_photographs(folder) == sound
    named = [record.getMessage() for record in caplog.records]
    assert ["cut.png" in named[0], "empty.jpg" in named[1], len(named)] == [True, True, 2]


def test_a_folder_without_photographs_is_refused(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"not a photograph")
    with pytest.raises(ValueError, match=r"must hold photographs .* got 1 such files"):
        find_photographs(tmp_path)
    with pytest.raises(
        FileNotFoundError, match=r"must exist, got .*nowhere; correct --photographs"
    ):
        find_photographs(tmp_path / "nowhere")


def test_the_digest_follows_contents_and_not_the_place(folder, tmp_path):
    first = find_photographs(folder)
    shutil.copytree(folder, tmp_path / "elsewhere")
    assert find_photographs(tmp_path / "elsewhere").digest == first.digest
    write_photo(tmp_path / "elsewhere" / "green.png", np.full((40, 50, 3), 9, np.uint8))
    assert find_photographs(tmp_path / "elsewhere").digest != first.digest


def test_photographs_replace_some_of_the_paint(folder):
    for name in ("noise.png", "more/ramp.jpg"):
        (folder / name).unlink()
    green = find_photographs(folder)
    textures = [paint_object(np.random.default_rng(k), green) for k in range(60)]
    # A crop of the plain green photograph is one colour everywhere; of the painters only "plain",
    # drawn for about a fifth, comes near to that.
    one_colour = [t for t in textures if (t == t[0, 0]).all()]
    assert 10 < len(one_colour) < 40
    assert sum(int(t[0, 0, 1]) + 1 >= max(t[0, 0, ::2]) for t in one_colour) >= 10
    painted = [paint_object(np.random.default_rng(k)) for k in range(60)]
    assert sum((t == t[0, 0]).all() for t in painted) < 6


def test_the_sky_shows_a_photograph_upright_and_without_seams(egl, tmp_path):
    # Blue fades to black from the top down; red to the right, so that edges of faces would show.
    rows, columns = np.mgrid[0:256, 0:256]
    photo = np.stack([columns, np.zeros_like(rows), 255 - rows], axis=-1).astype(np.uint8)
    write_photo(tmp_path / "fading.png", photo)
    grounds = Grounds((), find_photographs(tmp_path))
    rng = np.random.default_rng(5)  # a seed that draws a photograph
    builder = SceneBuilder(rng, (96, 128), grounds)
    builder.add_sky()
    model = builder.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    with SceneRenderer(model, data, (96, 128)) as renderer:
        for azimuth in np.radians(np.arange(0, 360, 30)):
            target = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
            camera = PinholeCamera(np.zeros(3), look_at(np.zeros(3), target), 60.0)
            image = renderer.colour(camera).astype(int)
            assert image[:10, :, 2].mean() > image[-10:, :, 2].mean() + 30
            assert np.abs(np.diff(image, axis=1)).max() < 12


def test_scenes_with_photographs_do_not_depend_on_the_number_of_processes(egl, folder, tmp_path):
    config, plain = SceneConfig(seed=2, views=1, image_hw=(96, 128)), tmp_path / "plain"
    sources = SceneMaterials(photographs=find_photographs(folder))
    for name, workers in (("one", 1), ("two", 2)):
        open_output(tmp_path / name, config, sources)
        list(generate_scenes(tmp_path / name, config, 2, workers, sources))
    open_output(plain, config)
    list(generate_scenes(plain, config, 1, 1))
    one, two = (sorted((tmp_path / n).rglob("*.*")) for n in ("one", "two"))
    assert len(one) == 2 * 3 + 1
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    image = "images/000000_00.jpg"
    assert (plain / image).read_bytes() != (tmp_path / "one" / image).read_bytes()
    with pytest.raises(ValueError, match="photographs was"):
        open_output(tmp_path / "one", config)


@pytest.mark.parametrize("is_paled", [False, True])
def test_colours_vary_as_the_plain_formula_says(is_paled):
    seed = next(n for n in range(99) if (np.random.default_rng(n).random() < 0.5) == is_paled)
    image = np.random.default_rng(7).integers(0, 256, (60, 70, 3), dtype=np.uint8)
    varied = vary_colours(np.random.default_rng(seed), image)

    rng = np.random.default_rng(seed)
    pale = rng.uniform(0, 1) if rng.random() < 0.5 else 0.0
    gain = np.exp(rng.normal(0, 0.2)) * np.exp(rng.normal(0, 0.05, 3))
    grey = image.mean(axis=2, keepdims=True, dtype=np.float32)
    expected = np.clip((image + (grey - image) * pale) * gain, 0, 255).astype(np.uint8)
    assert (pale > 0) == is_paled
    np.testing.assert_array_equal(varied, expected)
