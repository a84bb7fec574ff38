"""Keep what these tests index away from the user's cache."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEO_CACHE", str(tmp_path / "cache"))
