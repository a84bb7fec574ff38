"""Pasting one object over another: pixels, masks, seams."""

from __future__ import annotations

import numpy as np
import pytest

from sameo_model.synthesis.compositing import (
    CompositeRule,
    Occluder,
    compose,
    cut_out,
    resize_mask,
    wanted_scale,
)
from sameo_model.synthesis.placement import OcclusionRange

GREY, RED = np.array([100, 100, 100], np.uint8), np.array([250, 10, 20], np.uint8)
TARGET = np.zeros((60, 80), dtype=bool)
TARGET[20:40, 30:50] = True


def square_occluder(side=20):
    mask = np.ones((side, side), dtype=bool)
    return Occluder(0, 0, mask, np.broadcast_to(RED, (side, side, 3)).copy())


def make(rule=None, scale=1.0, seed=0, occluder=None):
    image = np.broadcast_to(GREY, (*TARGET.shape, 3)).copy()
    generator = np.random.default_rng(seed)
    rule = rule or CompositeRule()
    return compose(image, TARGET, occluder or square_occluder(), scale, rule, generator)


def test_a_cutout_is_tight_and_shows_its_own_pixels():
    image = np.arange(60 * 80 * 3, dtype=np.uint32).astype(np.uint8).reshape(60, 80, 3)
    cutout = cut_out(image, TARGET)
    assert (cutout.x, cutout.y, cutout.mask.shape) == (30, 20, (20, 20))
    np.testing.assert_array_equal(cutout.rgb, image[20:40, 30:50])


def test_the_hard_seam_shows_the_occluder_on_its_mask_and_the_photograph_elsewhere():
    composite = make()
    np.testing.assert_array_equal(
        composite.image, np.where(composite.occluder_mask[..., None], RED, GREY)
    )
    np.testing.assert_array_equal(composite.visible_mask, TARGET & ~composite.occluder_mask)
    assert composite.rate == pytest.approx(1 - composite.visible_mask.sum() / 400)
    # A row and a column of the target are 5 % each.
    assert composite.rate == pytest.approx(composite.requested_rate, abs=0.05)


def test_the_photograph_itself_is_not_touched():
    image = np.broadcast_to(GREY, (*TARGET.shape, 3)).copy()
    generator = np.random.default_rng(0)
    compose(image, TARGET, square_occluder(), 1.0, CompositeRule(), generator)
    assert (image == GREY).all()


def test_an_occluder_that_leaves_the_image_is_cut_at_its_border():
    target = np.zeros((60, 80), dtype=bool)
    target[0:20, 0:20] = True
    image = np.broadcast_to(GREY, (60, 80, 3)).copy()
    cut = 0
    for seed in range(20):
        composite = compose(
            image,
            target,
            square_occluder(),
            1.0,
            CompositeRule(),
            np.random.default_rng(seed),
        )
        cut += composite.occluder_mask.sum() < 400
        assert composite.rate == pytest.approx(composite.requested_rate, abs=0.1)
    assert cut


def test_a_small_occluder_grows_until_it_hides_enough():
    occlusion = OcclusionRange(mean=0.6, lowest=0.59, highest=0.61)
    # Equal size is 400 pixels; 12 x 12 hide 36 % at most, and 0.6 needs a side of 15.5.
    rule = CompositeRule(occlusion, max_growth=2.0)
    composite = make(rule, occluder=square_occluder(12))
    assert 15.5 / 12 <= composite.scale <= 2.0
    assert composite.rate == pytest.approx(composite.requested_rate, abs=0.05)


def test_growth_has_its_limit():
    rule = CompositeRule(OcclusionRange(mean=0.6, lowest=0.59, highest=0.61), max_growth=1.1)
    composite = make(rule, occluder=square_occluder(10))
    assert composite.scale == pytest.approx(1.1)
    # 11 x 11 of 400 pixels, centred.
    assert composite.rate == pytest.approx(121 / 400)


def test_a_feathered_seam_blends_inside_the_outline_alone():
    rule = CompositeRule(seam="feathered", feather_px=3.0)
    hard, soft = make(), make(rule)
    red = soft.image[..., 0].astype(int)
    assert ((red > 100) & (red < 250)).any()
    assert soft.rate == pytest.approx(soft.requested_rate, abs=0.05)
    # Where the target still shows for the most part it counts as visible.
    covered = TARGET & soft.occluder_mask
    assert (red[covered] >= 175).all()
    assert (red[TARGET & ~soft.occluder_mask] <= 175).all()
    assert hard.requested_rate == soft.requested_rate


def test_a_feathered_seam_does_not_shift_the_rate():
    rule = CompositeRule(seam="feathered", feather_px=4.0)
    composites = [make(rule, scale=1.5, seed=seed) for seed in range(60)]
    errors = [composite.rate - composite.requested_rate for composite in composites]
    # Half a row of 20 is 2.5 %; over many directions that averages out.
    assert abs(np.mean(errors)) < 0.008


def test_an_unknown_seam_is_refused():
    with pytest.raises(ValueError, match="seam must be hard or feathered, got 'poisson'"):
        CompositeRule(seam="poisson")


def test_sizes_are_made_equal_by_area():
    # 400 pixels against 100: twice the side.
    assert wanted_scale(400, 100, 1.0) == 2.0
    assert wanted_scale(100, 400, 1.5) == 0.75


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_resizing_keeps_the_aspect(scale):
    mask = np.ones((10, 30), dtype=bool)
    assert resize_mask(mask, scale).shape == (10 * scale, 30 * scale)


def test_an_object_never_vanishes_by_resizing():
    mask = np.zeros((9, 9), dtype=bool)
    mask[4, 4] = True
    assert resize_mask(mask, 0.1).any()
