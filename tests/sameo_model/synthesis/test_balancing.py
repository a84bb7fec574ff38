import numpy as np

from sameo_model.synthesis.balancing import BINS, WANTED, choose_views


def test_views_that_lack_occlusion_are_passed_over_for_those_that_bring_it():
    bare, heavy = [0.0] * 5, [0.0, 0.0, 0.1, 0.4, 0.7]
    assert choose_views([bare, bare, heavy, bare, heavy], 2) == [2, 4]


def test_the_chosen_views_come_nearer_to_the_wanted_shares_than_chance():
    rng = np.random.default_rng(0)
    rates = [list(np.where(rng.random(6) < 0.7, 0, rng.random(6))) for _ in range(24)]

    def distance(views):
        bins = np.digitize([rate for k in views for rate in rates[k]], BINS[1:])
        return np.abs(np.bincount(bins, minlength=4) / len(bins) - WANTED).sum()

    chosen = choose_views(rates, 8)
    assert len(set(chosen)) == 8
    assert chosen == sorted(chosen)
    assert distance(chosen) < 0.5 * distance(range(8))


def test_fewer_candidates_than_wanted_are_all_taken():
    assert choose_views([[0.0], [0.5]], 5) == [0, 1]
