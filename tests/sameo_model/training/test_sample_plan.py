"""Plans: the same for every process, resumable at any step, by weight or by log size."""

import itertools

import pytest

from sameo_model.training.sample_plan import SamplePlan, TrainingSet
from tests.sameo_model.training.drawn_scenes import write_drawn_scenes
from tests.sameo_model.training.runs import make_config


@pytest.fixture
def sources(tmp_path):
    return [
        TrainingSet(write_drawn_scenes(tmp_path / "small", 2), label="drawn"),
        TrainingSet(write_drawn_scenes(tmp_path / "large", 4), weight=12.0, label="drawn"),
    ]


MIXINGS = ({"mixing": "weights"}, {"mixing": "log_size", "prompts_per_step": 4})


@pytest.mark.parametrize("mixing", MIXINGS, ids=["weights", "log_size"])
def test_a_plan_that_starts_later_goes_on_where_the_other_would_be(tmp_path, sources, mixing):
    config = make_config(tmp_path, steps=9, **mixing)
    whole = list(SamplePlan(config, sources))
    rest = SamplePlan(config, sources, first_step=5)
    assert list(rest) == whole[5:]
    assert len(rest) == 4


@pytest.mark.parametrize("mixing", MIXINGS, ids=["weights", "log_size"])
def test_processes_share_the_steps_of_one_process(tmp_path, sources, mixing):
    config = make_config(tmp_path, steps=5, **mixing)
    whole = list(SamplePlan(config, sources))
    shares = [list(SamplePlan(config, sources, rank=rank, world_size=2)) for rank in (0, 1)]
    for step, draws in enumerate(whole):
        joined = shares[0][step] + shares[1][step]
        assert _prompts(joined) == _prompts(draws)
        assert _prompts(shares[0][step]) != _prompts(shares[1][step])


def _prompts(draws):
    return [
        (draw.stream, draw.source, draw.image_index, number)
        for draw in draws
        for number in draw.instance_indices or [None]
    ]


def test_weights_decide_how_often_a_source_is_drawn(tmp_path, sources):
    config = make_config(tmp_path, steps=500, images_per_step=2)
    draws = list(itertools.chain.from_iterable(SamplePlan(config, sources)))
    share = sum(draw.source == 1 for draw in draws) / len(draws)
    # 12 / (12 + 2): the source without a weight counts its two images.
    assert share == pytest.approx(12 / 14, abs=0.04)


def test_log_size_takes_each_step_from_one_source_with_the_papers_probability(tmp_path, sources):
    config = make_config(tmp_path, steps=1500, mixing="log_size", prompts_per_step=2)
    steps = list(SamplePlan(config, sources))
    assert all(len({draw.source for draw in draws}) == 1 for draws in steps)
    share = sum(draws[0].source == 1 for draws in steps) / len(steps)
    # 4 and 8 instances: log 8 / (log 4 + log 8) = 3 / 5.
    assert share == pytest.approx(0.6, abs=0.05)


def test_log_size_draws_every_image_once_before_any_comes_twice(tmp_path, sources):
    changes = {"mixing": "log_size", "prompts_per_step": 2, "samples": {"boxes_per_image": 1}}
    config = make_config(tmp_path, steps=4, **changes)
    # 4 images, 2 prompts a step: two steps make a round.
    images = [draw.image_index for draws in SamplePlan(config, sources[1:]) for draw in draws]
    assert sorted(images[:4]) == sorted(images[4:]) == [0, 1, 2, 3]
    assert images[:4] != images[4:]


def test_log_size_draws_no_image_without_instances(tmp_path, sources):
    images = sources[1].images
    keep = images.instance_table["image_row"] != 2
    config = make_config(tmp_path, steps=20, mixing="log_size", prompts_per_step=3)
    steps = list(SamplePlan(config, [TrainingSet(images.select(keep))]))
    assert {draw.image_index for draws in steps for draw in draws} == {0, 1, 3}
    assert all(sum(len(draw.instance_indices) for draw in draws) == 3 for draws in steps)


def test_a_set_that_log_size_would_never_draw_is_refused(tmp_path, sources):
    images = sources[0].images
    few = images.select(images.instance_table["annotation_id"] == 1, drop_empty=True)
    config = make_config(tmp_path, mixing="log_size")
    with pytest.raises(ValueError, match=r"data set tiny must have at least 2 instances .* got 1"):
        list(SamplePlan(config, [TrainingSet(few, label="tiny")]))


def test_steps_that_processes_cannot_share_evenly_are_refused(tmp_path, sources):
    config = make_config(tmp_path, images_per_step=3)
    with pytest.raises(ValueError, match=r"images_per_step must be a multiple .* got 3 and 2"):
        SamplePlan(config, sources, world_size=2)
