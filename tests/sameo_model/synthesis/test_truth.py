import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.synthesis.cameras import PinholeCamera, look_at
from sameo_model.synthesis.rendering import SceneRenderer
from sameo_model.synthesis.stage import SceneBuilder, Stage
from sameo_model.synthesis.truth import Keep, disjoint_groups, object_corners, view_truth

UPRIGHT = np.array([1.0, 0.0, 0.0, 0.0])
HW = (480, 640)


def camera_at(position, target, fovy_deg=30.0) -> PinholeCamera:
    position, target = np.array(position, dtype=float), np.array(target, dtype=float)
    return PinholeCamera(position, look_at(position, target), fovy_deg)


def build(objects, stage=None):
    """Return model, data and corners of (asset, xyz) pairs that hang where they are put."""
    builder = SceneBuilder(np.random.default_rng(0), HW)
    builder.add_lights()
    builder.add_stage(stage or Stage("floor", (3.0, 3.0)))
    for asset, position in objects:
        builder.add_object(asset, np.array(position, dtype=float), UPRIGHT)
    model = builder.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return model, data, object_corners(model, data, len(objects))


def rates(truths):
    return {t.index: 1 - t.visible_mask.sum() / t.amodal_mask.sum() for t in truths}


def test_a_box_behind_a_box_is_hidden_as_geometry_says(egl, block):
    # Seen from (1, 0, 0.05) along -x. The front cube's face is 0.95 m away and spans +-0.05 m:
    # tangents +-0.05263. The rear cube's face is 1.25 m away, y from 0 to 0.1 and z +-0.05 about
    # the axis: tangents 0 to 0.08 by +-0.04. So the front hides y from 0 to 0.05263 at full height:
    # 0.05263 / 0.08 = 0.658.
    cube = block((0.1, 0.1, 0.1))
    model, data, corners = build([(cube, (0, 0, 0.05)), (cube, (-0.3, 0.05, 0.05))])
    with SceneRenderer(model, data, HW) as renderer:
        view = view_truth(renderer, camera_at((1, 0, 0.05), (0, 0, 0.05)), corners, Keep())
    truths, depth = view.instances, view.depth_m
    found = rates(truths)
    assert found[0] == 0.0
    assert found[1] == pytest.approx(0.658, abs=0.01)
    focal = 240 / np.tan(np.radians(15))
    assert truths[1].amodal_mask.sum() == pytest.approx(0.08 * 0.08 * focal**2, rel=0.02)
    assert depth[240, 320] == pytest.approx(0.95, abs=0.002)


def test_a_bin_wall_hides_but_does_not_cut_the_amodal_mask(egl, block):
    # The wall's outer face is at x = 0.212, 0.788 m from the camera at height 0.1, 0.12 m high:
    # it reaches above the line of sight to the cube's lower part.
    cube = block((0.1, 0.1, 0.1))
    camera = camera_at((1, 0, 0.1), (0, 0, 0.1))
    areas = []
    for stage in (Stage("floor", (3.0, 3.0)), Stage("bin", (0.2, 0.2), 0.08)):
        model, data, corners = build([(cube, (0, 0, 0.05))], stage)
        with SceneRenderer(model, data, HW) as renderer:
            truths = view_truth(renderer, camera, corners, Keep()).instances
        areas.append((truths[0].amodal_mask.sum(), truths[0].visible_mask.sum()))
    (amodal_free, visible_free), (amodal_bin, visible_bin) = areas
    assert amodal_free == visible_free == amodal_bin
    # The nearer top edge of the wall is 0.02 m below the camera and 0.788 m away; the cube's front
    # is 0.95 m away, so the wall covers what lies lower than 0.02 / 0.788 * 0.95 = 0.0241 m below
    # the camera: of the front's 0.1 m only 0.0241 m stay visible (the top is seen edge-on).
    assert visible_bin / amodal_bin == pytest.approx(0.241, abs=0.02)


def test_objects_rendered_together_get_the_masks_of_objects_rendered_alone(egl, block):
    rng = np.random.default_rng(3)
    objects = [
        (block(rng.uniform(0.03, 0.12, 3)), (*rng.uniform(-0.25, 0.25, 2), 0.06)) for _ in range(9)
    ]
    model, data, corners = build(objects)
    with SceneRenderer(model, data, HW) as renderer:
        for position in ((0.6, 0.2, 0.15), (0.1, 0.1, 0.9), (-0.4, 0.5, 0.4)):
            camera = camera_at(position, (0, 0, 0), 55.0)
            truths = view_truth(renderer, camera, corners, Keep()).instances
            assert len(truths) >= 4
            for truth in truths:
                alone = renderer.object_mask(camera, {truth.index}) == truth.index
                assert (alone == truth.amodal_mask).all()
                assert (truth.amodal_mask | ~truth.visible_mask).all()


def test_an_object_mostly_outside_the_image_is_dropped(egl, block):
    # A 0.1 m cube 0.95 m away; the image ends at tangent +-tan(fovy / 2) * 4 / 3 along y.
    edge = 0.95 * np.tan(np.radians(15)) * 4 / 3
    cube = block((0.1, 0.1, 0.1))
    for share, kept in ((0.45, 0), (0.75, 1)):
        # The image's right is +y for a camera that looks along -x.
        centre = edge + 0.05 - 0.1 * share
        model, data, corners = build([(cube, (0, centre, 0.05))])
        with SceneRenderer(model, data, HW) as renderer:
            camera = camera_at((1, 0, 0.05), (0, 0, 0.05))
            truth = view_truth(renderer, camera, corners, Keep())
            number_of_pixels = (renderer.objects(camera)[0] == 0).sum()
        assert len(truth.instances) == kept
        assert list(truth.left_over) == [0] * (1 - kept)
        if not kept:
            assert truth.left_over[0].sum() == number_of_pixels > 2000
            assert truth.left_over[0][:, -1].any()


def test_an_object_with_too_little_visible_is_dropped(egl, block):
    # As above, the rear cube spans tangents (y - 0.05) / 1.25 to (y + 0.05) / 1.25 and the front
    # one hides up to 0.05263: y = 0.0208 leaves 5 % visible, y = 0.0358 leaves 20 %.
    cube = block((0.1, 0.1, 0.1))
    for y, kept in ((0.0208, [0]), (0.0358, [0, 1])):
        model, data, corners = build([(cube, (0, 0, 0.05)), (cube, (-0.3, y, 0.05))])
        with SceneRenderer(model, data, HW) as renderer:
            camera = camera_at((1, 0, 0.05), (0, 0, 0.05))
            truth = view_truth(renderer, camera, corners, Keep())
            unmarked = view_truth(renderer, camera, corners, Keep(), frozenset({1}))
        assert [one.index for one in truth.instances] == kept
        assert [*kept, *truth.left_over] == [0, 1]
        assert not unmarked.left_over


boxes = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(1, 20), st.integers(1, 20))


@given(st.lists(boxes, min_size=1, max_size=20))
def test_no_two_boxes_of_a_group_overlap_and_nothing_is_lost(xywh):
    values = np.array([[x, y, x + w, y + h] for x, y, w, h in xywh], dtype=float)
    groups = disjoint_groups(values, list(range(len(values))))
    assert sorted(k for group in groups for k in group) == list(range(len(values)))
    for group in groups:
        canvas = np.zeros((80, 80), dtype=int)
        for k in group:
            x1, y1, x2, y2 = values[k].astype(int)
            canvas[y1:y2, x1:x2] += 1
        assert canvas.max() == 1


def test_masks_and_images_drawn_in_turns_are_those_drawn_alone(egl, block):
    cube = block((0.1, 0.1, 0.1))
    model, data, _ = build([(cube, (0, 0, 0.05)), (cube, (-0.3, 0.05, 0.05))])
    cameras = [camera_at((1, y, 0.3), (0, 0, 0.05)) for y in (-0.2, 0.2)]
    with SceneRenderer(model, data, HW) as renderer:
        masks = [renderer.object_mask(camera, {0}) for camera in cameras]
        images = [renderer.colour(camera) for camera in cameras]
    assert (masks[0] != masks[1]).any()
    with SceneRenderer(model, data, HW) as renderer:
        for camera, image, mask in zip(cameras, images, masks, strict=True):
            np.testing.assert_array_equal(renderer.object_mask(camera, {0}), mask)
            np.testing.assert_array_equal(renderer.colour(camera), image)
            np.testing.assert_array_equal(renderer.object_mask(camera, {0}), mask)
