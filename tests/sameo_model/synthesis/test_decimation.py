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
    # Two flat sheets nearly in one plane, back to back, each with its own part of the texture.
    ticks = np.linspace(0, 1, 41)
    x, y = np.meshgrid(ticks, ticks, indexing="ij")
    sheets = []
    for z, sign, offset in ((2e-5, 1, 0.0), (0.0, -1, 10.0)):
        grid = np.stack([x, y, np.full_like(x, z)], axis=-1)
        a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
        order = ((a, b, c), (a, c, d)) if sign > 0 else ((a, c, b), (a, d, c))
        triangles = np.concatenate([np.stack(t, axis=2).reshape(-1, 3, 3) for t in order])
        sheets.append(Soup(triangles, triangles[..., :2] + offset))
    soup = Soup(*(np.concatenate(part) for part in zip(*sheets, strict=True)))
    thinned, _ = decimate(soup, corner_normals(soup.triangles), 2000)
    up = np.cross(
        thinned.triangles[:, 1] - thinned.triangles[:, 0],
        thinned.triangles[:, 2] - thinned.triangles[:, 0],
    )[:, 2]
    assert (up > 0).any()
    assert (up < 0).any()
    assert thinned.uvs[up > 0].max() <= 1.0
    assert thinned.uvs[up < 0].min() >= 10.0
