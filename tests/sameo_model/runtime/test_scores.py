import numpy as np
import pytest

from sameo_model.runtime.scores import scores_to_fractions

NAN = float("nan")


@pytest.mark.parametrize(
    ("scores", "fractions", "is_percent"),
    [
        pytest.param([], [], False, id="none"),
        pytest.param([0.0, 0.25, 1.0], [0.0, 0.25, 1.0], False, id="fractions"),
        pytest.param([1.0005, -0.0005], [1.0, 0.0], False, id="rounding"),
        pytest.param([87.5, 50.0, 0.5], [0.875, 0.5, 0.005], True, id="percentages"),
        pytest.param([100.0], [1.0], True, id="one percentage"),
        pytest.param([50.0, NAN], [0.5, NAN], True, id="unknown beside percentages"),
        # Two of three are fractions: the third is wrong, not they.
        pytest.param([0.9, 0.8, 90.0], [0.9, 0.8, NAN], False, id="one percentage among fractions"),
        pytest.param([1.5, 0.5], [NAN, 0.5], False, id="more than certain"),
        pytest.param([255.0, 0.5], [NAN, 0.5], False, id="bytes"),
        pytest.param([-3.0, 60.0], [NAN, NAN], False, id="logits"),
    ],
)
def test_scores_become_fractions_or_unknown(scores, fractions, is_percent):
    found, was_percent = scores_to_fractions(scores)
    np.testing.assert_allclose(found, fractions)
    assert was_percent == is_percent
