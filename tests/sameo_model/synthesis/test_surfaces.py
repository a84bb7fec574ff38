import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sameo_model.synthesis.surfaces import (
    Z_TO_Y,
    Soup,
    box_soup,
    corner_normals,
    extrude_soup,
    lathe_soup,
    move_soup,
    project_uvs,
    superquadric_soup,
    tube_soup,
)


def volume(soup: Soup) -> float:
    """Return the volume that a closed soup encloses, negative if it is inside out."""
    a, b, c = soup.triangles.transpose(1, 0, 2)
    return float(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6)


@given(st.tuples(*[st.floats(0.01, 0.3)] * 3))
def test_a_box_encloses_the_product_of_its_sides(size):
    assert volume(box_soup(size)) == pytest.approx(np.prod(size))


def test_a_lathed_cylinder_encloses_the_prism_over_its_polygon():
    soup = lathe_soup(np.array([[0, 0], [2, 0], [2, 3], [0, 3]]), segments=6)
    # A regular hexagon of circumradius 2 has the area 3 sqrt(3) / 2 * 2^2; times the height 3.
    assert volume(soup) == pytest.approx(18 * np.sqrt(3))


def test_a_hollow_lathe_body_encloses_only_its_wall():
    hollow = lathe_soup(np.array([[0, 0], [2, 0], [2, 3], [1, 3], [1, 1], [0, 1]]), segments=6)
    # The solid hexagonal prism less the hollow one: radius 1, from height 1 to 3.
    assert volume(hollow) == pytest.approx(18 * np.sqrt(3) - 3 * np.sqrt(3))


def test_an_extruded_square_is_a_box():
    square = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=float)
    assert volume(extrude_soup(square, 0.5)) == pytest.approx(2.0)


def test_a_superquadric_with_unit_exponents_is_nearly_a_ball():
    assert volume(superquadric_soup((1, 1, 1), (1.0, 1.0), 48)) == pytest.approx(
        4 / 3 * np.pi, rel=0.01
    )


def test_a_straight_tube_is_nearly_a_cylinder():
    path = np.stack([np.linspace(0, 2, 9), np.zeros(9), np.zeros(9)], axis=1)
    assert volume(tube_soup(path, np.full(9, 0.5), 64)) == pytest.approx(np.pi / 2, rel=0.01)


def test_turning_the_z_axis_keeps_the_volume():
    assert pytest.approx([0, 1, 0]) == Z_TO_Y @ [0, 0, 1]
    assert volume(move_soup(box_soup((1, 2, 3)), Z_TO_Y, (5, 6, 7))) == pytest.approx(6.0)


def test_normals_of_a_box_are_not_smoothed_across_its_edges():
    soup = box_soup((1, 1, 1))
    faces = np.cross(
        soup.triangles[:, 1] - soup.triangles[:, 0], soup.triangles[:, 2] - soup.triangles[:, 0]
    )
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    assert corner_normals(soup.triangles) == pytest.approx(np.repeat(faces[:, None], 3, axis=1))


def test_normals_of_a_ball_point_away_from_its_middle():
    triangles = superquadric_soup((1, 1, 1), (1.0, 1.0), 32).triangles
    cosines = (corner_normals(triangles) * triangles).sum(axis=2)
    assert cosines.min() > 0.99


def test_projected_coordinates_lie_along_the_face():
    soup = box_soup((0.12, 0.24, 0.36), divisions=1)
    spans = np.ptp(project_uvs(soup.triangles, period_m=0.12), axis=1)
    # Each face spans two of the lengths 1, 2 and 3 in texture periods, never 0.
    assert spans.min() == pytest.approx(1.0)
    assert spans.max() == pytest.approx(3.0)
