"""Pasting cut-outs: what is drawn is what the mask says, whatever the seam and the light."""

from dataclasses import replace

import numpy as np
import pytest

from sameo_model.synthesis import pasting
from sameo_model.synthesis.clutter import draw_bin
from sameo_model.synthesis.cutouts import Cutout
from sameo_model.synthesis.pasting import Layer, Light, draw_light, make_layer, noise_level, paste

FLAT = Light((0.0, 0.0), np.ones(3, np.float32), 0.0, (5.0, 5.0), 0.1, 0.0, 0.0, 0.0)


def grey(value=100.0, hw=(60, 80)):
    return np.full((*hw, 3), value, np.float32)


def bar():
    """A red bar, 30 x 10 pixels, in a tight image."""
    rgb = np.zeros((10, 30, 3), np.uint8)
    rgb[..., 0] = 200
    return Cutout(rgb, np.full((10, 30), 255, np.uint8))


def use_seam(monkeypatch, seam):
    monkeypatch.setattr(pasting, "draw_seam", lambda rng: seam)


@pytest.mark.parametrize("seam", ["hard", "feathered", "gaussian", "poisson"])
@pytest.mark.parametrize("place", [(20, 20), (-12, 30), (60, -5)], ids=["inside", "left", "corner"])
def test_the_mask_is_where_the_object_shows_and_nothing_else_changes(monkeypatch, seam, place):
    use_seam(monkeypatch, seam)
    rng = np.random.default_rng(0)
    layer = make_layer(rng, bar(), 18.0, 0.4, FLAT)
    canvas = grey()
    mask = paste(rng, canvas, layer, *place, FLAT)
    assert mask.any()
    red = canvas[..., 0] - canvas[..., 1]
    # Half of 200 is where object and background show alike; Poisson blending pales the object.
    least = 20 if seam == "poisson" else 95
    assert (red[mask] > least).all()
    assert (red[~mask] < 105).all()
    untouched = np.ones(mask.shape, bool)
    x, y = place
    h, w = layer.alpha.shape
    untouched[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = False
    assert (canvas[untouched] == 100).all()


def test_an_object_outside_the_image_changes_nothing():
    canvas = grey()
    layer = Layer(grey(hw=(5, 5)), np.ones((5, 5), np.float32))
    assert not paste(np.random.default_rng(0), canvas, layer, 200, 200, FLAT).any()
    assert (canvas == 100).all()


@pytest.mark.parametrize("size_px", [6.0, 18.0, 40.0], ids=["shrunk", "as it is", "enlarged"])
def test_an_object_has_the_wanted_size_and_its_aspect(monkeypatch, size_px):
    use_seam(monkeypatch, "feathered")
    layer = make_layer(np.random.default_rng(0), bar(), size_px, 0.0, FLAT)
    assert np.sqrt(layer.mask.sum()) == pytest.approx(size_px, rel=0.12)
    rows, columns = layer.mask.any(1).sum(), layer.mask.any(0).sum()
    assert columns / rows == pytest.approx(3, rel=0.2)


def test_a_blurred_seam_does_not_lose_thin_parts(monkeypatch):
    use_seam(monkeypatch, "gaussian")
    thin = Cutout(np.full((30, 41, 3), 200, np.uint8), np.zeros((30, 41), np.uint8))
    thin.alpha[:, 20] = 255  # one pixel wide: a blur alone would lift nothing above a half
    layer = make_layer(np.random.default_rng(1), thin, np.sqrt(30.0), 0.0, FLAT)
    assert layer.mask.sum() >= 28


def test_a_shadow_darkens_what_lies_beside_and_never_brightens(monkeypatch):
    use_seam(monkeypatch, "hard")
    rng = np.random.default_rng(0)
    light = replace(FLAT, shadow_depth=0.5)
    canvas = grey()
    mask = paste(rng, canvas, make_layer(rng, bar(), 18.0, 0.0, light), 20, 20, light)
    beside = canvas[~mask]
    assert beside.max() <= 100
    assert beside.min() < 90


def test_objects_get_the_noise_of_their_background():
    rng = np.random.default_rng(0)
    noisy = grey(hw=(200, 200)) + rng.normal(0, 6, (200, 200, 3)).astype(np.float32)
    assert noise_level(noisy) == pytest.approx(6, rel=0.1)
    light = draw_light(rng, noisy, 1.0)
    large = Cutout(np.full((120, 120, 3), 90, np.uint8), np.full((120, 120), 255, np.uint8))
    layer = make_layer(rng, large, 120.0, 0.0, light)
    assert noise_level(layer.rgb[20:100, 20:100]) == pytest.approx(6, rel=0.2)


@pytest.mark.parametrize("seed", range(4))
def test_a_bin_gives_a_place_inside_the_image(seed):
    canvas = grey(hw=(120, 160))
    region = draw_bin(np.random.default_rng(seed), canvas, FLAT)
    x1, y1, x2, y2 = region.box_xyxy
    assert 0 <= x1 < x2 <= 160
    assert 0 <= y1 < y2 <= 120
    assert np.isfinite(canvas).all()
    assert canvas.std() > 1
