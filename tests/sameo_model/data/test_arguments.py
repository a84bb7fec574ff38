"""Numbers on command lines."""

from __future__ import annotations

import argparse

import pytest

from sameo_model.data.arguments import whole_number


@pytest.mark.parametrize("text", ["0", "-3", "2.5", "many", ""])
def test_numbers_below_the_smallest_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"whole number of at least 1, got '"):
        whole_number(1)(text)


def test_numbers_from_the_smallest_on_are_taken():
    assert whole_number(1)("1") == 1
    assert whole_number(0)("150000") == 150_000
