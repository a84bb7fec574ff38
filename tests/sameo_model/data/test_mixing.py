"""The mixture's probabilities, its determinism and what is held out."""

from __future__ import annotations

from itertools import islice

import pytest
from scipy.stats import chisquare

from sameo_model.data.collection import open_dataset
from sameo_model.data.mixing import MixingSampler, coco_photographs, without_photographs
from tests.sameo_model.data import fabricate as fab


def write_set(root, instances_per_image, coco_ids=None):
    """Write an amodal COCO set whose n-th image has the n-th number of instances."""
    images, records = [], []
    for number, count in enumerate(instances_per_image, start=1):
        entry = fab.image_entry(f"{number}.png", number)
        if coco_ids:
            entry["coco_image_ids"] = coco_ids[number - 1]
        images.append(entry)
        for _ in range(count):
            masks = {"segmentation": fab.rle(fab.BACK), "visible_mask": fab.rle(fab.BACK_VISIBLE)}
            records.append(fab.annotation(len(records) + 1, number, **masks))
    fab.save_json(root / "annotations.json", fab.flat(images, records, {1: "box"}))
    return open_dataset("amodal_coco", root)


@pytest.fixture
def datasets(tmp_path):
    return {
        "small": write_set(tmp_path / "small", [1, 1]),
        "middle": write_set(tmp_path / "middle", [3, 0, 4, 1]),
        "large": write_set(tmp_path / "large", [8] * 8),
    }


def sampler(datasets, **changes):
    settings = {"batch_size": 4, "instances_per_image": 2, "seed": 3}
    return MixingSampler(datasets, **{**settings, **changes})


def test_probabilities_are_logarithms_of_the_numbers_of_instances(datasets):
    # log2 of 2, 8 and 64 instances: 1, 3 and 6, in all 10.
    expected = {"small": 0.1, "middle": 0.3, "large": 0.6}
    assert sampler(datasets).probabilities == pytest.approx(expected)


def test_frequencies_of_the_data_sets_follow_the_formula(datasets):
    batches = list(islice(sampler(datasets), 2000))
    names = [batch[0].dataset for batch in batches]
    observed = [names.count(name) for name in ("small", "middle", "large")]
    assert chisquare(observed, [200, 600, 1200]).pvalue > 0.01


def test_each_batch_holds_the_asked_prompts_of_one_data_set(datasets):
    for batch in islice(sampler(datasets, batch_size=7, instances_per_image=3), 50):
        assert len({item.dataset for item in batch}) == 1
        assert sum(len(item.instance_indices) for item in batch) == 7
        for item in batch:
            image = datasets[item.dataset][item.image_index]
            assert len(set(item.instance_indices)) == len(item.instance_indices) <= 3
            assert max(item.instance_indices) < len(image.instances)


def test_images_without_instances_are_never_drawn(datasets):
    batches = islice(sampler({"middle": datasets["middle"]}), 50)
    assert {item.image_index for batch in batches for item in batch} == {0, 2, 3}


def test_every_image_comes_once_before_any_comes_twice(datasets):
    one = {"large": datasets["large"]}
    batches = list(islice(sampler(one, batch_size=4, instances_per_image=1), 4))
    # 8 images, 4 prompts a step: two steps make a round.
    for first, second in [batches[:2], batches[2:]]:
        assert sorted(item.image_index for item in first + second) == list(range(8))
    assert batches[:2] != batches[2:]


def test_the_ranks_shares_make_up_the_batch_of_a_single_process(datasets):
    def flat(batch):
        return [
            (item.dataset, item.image_index, i) for item in batch for i in item.instance_indices
        ]

    single = list(islice(sampler(datasets, instances_per_image=3), 30))
    ranks = [
        list(islice(sampler(datasets, instances_per_image=3, rank=rank, world_size=2), 30))
        for rank in range(2)
    ]
    for whole, first, second in zip(single, *ranks, strict=True):
        assert flat(whole) == flat(first) + flat(second)
        assert len(flat(first)) == 2


def test_a_resumed_run_sees_the_samples_of_an_undisturbed_one(datasets):
    undisturbed = list(islice(sampler(datasets), 60))
    resumed = sampler(datasets)
    # Planning ahead, as a data loader does, must not matter.
    list(islice(resumed, 33))
    resumed.seek(25)
    assert list(islice(resumed, 35)) == undisturbed[25:]


def test_another_seed_gives_other_batches(datasets):
    assert list(islice(sampler(datasets), 10)) != list(islice(sampler(datasets, seed=4), 10))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "must be at least 1, got 0 and 2"),
        ({"world_size": 3}, "world_size must divide batch_size"),
        ({"rank": 1}, "exceed rank"),
    ],
)
def test_settings_out_of_range_are_refused(datasets, changes, message):
    with pytest.raises(ValueError, match=message):
        sampler(datasets, **changes)


def test_a_data_set_that_would_never_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match="data set one must have at least 2 instances"):
        sampler({"one": write_set(tmp_path, [1])})


def test_no_data_set_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one data set"):
        sampler({})


def test_photographs_of_a_held_out_set_are_left_out_of_the_others(tmp_path):
    datasets = {
        "target": write_set(tmp_path / "a", [1, 1], coco_ids=[[5], [6]]),
        "train": write_set(tmp_path / "b", [2, 2, 2, 2], coco_ids=[[4], [6], [7, 5], [8, 9]]),
        "other": write_set(tmp_path / "c", [2]),
    }
    shown = coco_photographs(datasets.pop("target"))
    assert shown == {5, 6}
    rest = {name: without_photographs(one, shown) for name, one in datasets.items()}
    # Image 2 shows photograph 6; image 3 is a composite of 7 and 5.
    assert [image.image_id for image in rest["train"]] == [1, 4]
    assert len(rest["other"]) == 1
    drawn = {item.image_index for batch in islice(sampler(rest), 20) for item in batch}
    assert drawn <= {0, 1}
