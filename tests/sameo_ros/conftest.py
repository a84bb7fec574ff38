"""What tests of several files need."""

import pytest

from tests.bundles import make_tiny_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The folder of a tiny bundle; nobody changes it."""
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny"))
