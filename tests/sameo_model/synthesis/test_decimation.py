import numpy as np

from sameo_model.synthesis.decimation import decimate
from sameo_model.synthesis.surfaces import Soup, corner_normals, superquadric_soup


def test_a_small_mesh_is_left_as_it_is():
    soup = superquadric_soup((1, 1, 1), (1.0, 1.0), 6)
    normals = corner_normals(soup.triangles)
    thinned, kept = decimate(soup, normals, 10_000)
    assert thinned is soup
    assert kept is normals


def test_a_thinned_ball_keeps_its_shape_and_its_texture_across_the_seam():
    ball = superquadric_soup((1, 1, 1), (1.0, 1.0), 60)
    thinned, normals = decimate(ball, corner_normals(ball.triangles), 2000)
    assert 1000 < len(thinned.triangles) <= 2100
    points = thinned.triangles.reshape(-1, 3)
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 0.02
    assert (normals.reshape(-1, 3) * points).sum(1).min() > 0.97
    # u runs once around: a triangle that took corners from both sides of the seam would span
    # nearly the whole texture.
    away_from_poles = np.abs(thinned.triangles[..., 2]).max(axis=1) < 0.9
    assert np.ptp(thinned.uvs[away_from_poles, :, 0], axis=1).max() < 0.25


def test_the_two_sides_of_a_thin_wall_keep_their_own_parts_of_the_texture():
    # A ball and, 0.0005 inside it, its lining, which faces inwards. The thinned triangles cut
    # corners by more than that: 2000 of them have edges of about 0.1, so they sink 0.1^2 / 8.
    ball = superquadric_soup((1, 1, 1), (1.0, 1.0), 40)
    lining = Soup(0.9995 * ball.triangles[:, ::-1], ball.uvs[:, ::-1] + 10)
    soup = Soup(*(np.concatenate(part) for part in zip(ball, lining, strict=True)))
    thinned, _ = decimate(soup, corner_normals(soup.triangles), 4000)
    a, b, c = thinned.triangles.transpose(1, 0, 2)
    outwards = (np.cross(b - a, c - a) * a).sum(axis=1) > 0
    assert 1000 < outwards.sum() < len(outwards) - 1000
    assert thinned.uvs[outwards].max() <= 1.0
    assert thinned.uvs[~outwards].min() >= 10.0
