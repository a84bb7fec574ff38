"""What the tests of rendered scenes share."""

import numpy as np
import pytest

from sameo_model.synthesis.assets import Asset, Collider, ObjectSurface
from sameo_model.synthesis.surfaces import box_soup, corner_normals


@pytest.fixture(scope="session")
def egl():
    """Skip where nothing can be rendered."""
    from sameo_model.synthesis.rendering import _gl_context

    try:
        _gl_context()
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def block():
    """Return a maker of plain boxes of a given xyz size in metres."""

    def make(size) -> Asset:
        soup = box_soup(size)
        surface = ObjectSurface(
            soup.triangles, corner_normals(soup.triangles), soup.uvs, rgb=(1, 0, 0)
        )
        half = tuple((np.asarray(size) / 2).tolist())
        return Asset("procedural", "box", (surface,), (Collider("box", half),))

    return make
