"""Settings from YAML files."""

from __future__ import annotations

import pytest

from sameo_model.synthesis.amodal_lvis import AmodalLvisSettings
from sameo_model.synthesis.settings_file import load_settings
from sameo_model.synthesis.walt import WaltSettings

LVIS = AmodalLvisSettings(seed=0, num_pairs=1)
WALT = WaltSettings(seed=0, images_per_camera=1)


@pytest.mark.parametrize(
    ("defaults", "text", "message"),
    [
        (LVIS, "[1, 2]", r"a\.yaml must hold keys with values, got \[1, 2\]"),
        (LVIS, "complete: 3", r"a\.yaml cannot be used: complete must hold keys, got 3"),
        (LVIS, "complete: {min_iou: abc}", "complete.min_iou must be float, got 'abc'"),
        (LVIS, "complete: {min_iou: .nan}", "complete.min_iou must be float, got nan"),
        (LVIS, "complete: {min_iou: 1.5}", "min_iou must be from 0 to 1, got 1.5"),
        (LVIS, "complete: {min_area: 0}", "min_area must be at least 1 pixel, got 0"),
        (LVIS, "complete: {allow_border: 1}", "allow_border must be bool, got 1"),
        (LVIS, "composite: {min_scale: 3.0}", "0 < min_scale <= max_scale <= 100, got 3.0 and 2"),
        (LVIS, "composite: {max_growth: -1}", "max_growth must be from 1 to 100, got -1.0"),
        (LVIS, "composite: {feather_px: 1.0e+30}", "feather_px must be from 0 to 100"),
        (LVIS, "jpeg_quality: 101", "jpeg_quality must be from 0 to 100, got 101"),
        (LVIS, "a: [1", "must be YAML, while parsing"),
        (
            LVIS,
            "complete: {min_io: 1}",
            "unknown key complete.min_io, did you mean complete.min_iou",
        ),
        (LVIS, "seed: 3", "may not have seed: it is an option of the command line"),
        (WALT, "jpeg_quality: -1", "jpeg_quality must be from 0 to 100, got -1"),
        (WALT, "max_occlusion_rate: 2", "max_occlusion_rate must be from 0 to 1, got 2.0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path, defaults, text, message):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_settings(path, defaults, options=("seed",))


def test_whole_numbers_pass_for_fractions_and_an_empty_file_changes_nothing(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("")
    assert load_settings(path, LVIS) == LVIS
    path.write_text("complete: {min_iou: 1}")
    assert load_settings(path, LVIS).complete.min_iou == 1.0
