import dataclasses
from types import SimpleNamespace

import pytest
import yaml

from sameo_ros.core.settings import SameoParameters
from sameo_ros.ros.parameters import declare_parameters, describe_undeclared, parameter_table
from tests.sameo_ros.processes import ROOT

TRANSPORTS = "image", "image/compressed"
NAMES = [one.name for one in dataclasses.fields(SameoParameters)]


class FakeNode:
    """Records what is declared; `started_with` are the values of the command line."""

    def __init__(self, **started_with):
        self.started_with = started_with
        self._parameter_overrides = started_with
        self.descriptors = {}

    def get_parameters_by_prefix(self, prefix):
        return self.descriptors

    def declare_parameter(self, name, default, descriptor):
        self.descriptors[name] = descriptor
        return SimpleNamespace(value=self.started_with.get(name, default))


def test_every_parameter_has_a_description_and_a_valid_default():
    defaults = dataclasses.asdict(SameoParameters())
    assert SameoParameters().changed(defaults) == SameoParameters()
    for one in dataclasses.fields(SameoParameters):
        assert one.metadata["description"].endswith("."), one.name


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"backend": "cuda"}, "backend must be one of auto, openvino, .*; got 'cuda'"),
        ({"encode_ahead": ""}, "encode_ahead must be one of on, off, auto; got ''"),
        ({"max_age_s": 0.0}, "max_age_s must be from 0.01 to 60; got 0.0"),
        ({"cache_frames": 65}, "cache_frames must be from 1 to 64; got 65"),
        ({"max_wait_s": float("nan")}, "max_wait_s must be from 0 to 10; got nan"),
        (
            {"detector": "builtin", "classes": ["mug"]},
            "classes must be empty with detector builtin",
        ),
        ({"detections_frame": "640"}, "detections_frame must be auto, image, or one of"),
    ],
)
def test_a_value_out_of_range_is_refused(values, sentence):
    with pytest.raises(ValueError, match=sentence):
        SameoParameters().changed(values)


@pytest.mark.parametrize("names", [("left", ""), ("left", "left"), ("a/b",), ("1st",), ("läft",)])
def test_camera_names_that_cannot_be_topics_are_refused(names):
    with pytest.raises(ValueError, match="cameras must hold different names"):
        SameoParameters().changed({"cameras": names})


@pytest.mark.parametrize(
    ("given", "names"),
    [
        (("left", "right_2"), ("left", "right_2")),
        (["left"], ("left",)),
        ("left", ("left",)),
        ("left,right", ("left", "right")),
        ([""], ("",)),
        ([], ("",)),
        (None, ("",)),  # what ROS makes of `cameras:=[]`
    ],
)
def test_camera_names_mean_what_they_look_like(given, names):
    assert SameoParameters().changed({"cameras": given}).cameras == names


@pytest.mark.parametrize(("given", "taken"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_on_and_off_may_come_as_the_truth_values_that_yaml_makes_of_them(given, taken):
    assert SameoParameters().changed({"encode_ahead": given}).encode_ahead == taken


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ({"max_age_s": 2}, 2.0),
        ({"points_of": 7}, "7"),
        ({"cameras": ["left"]}, ("left",)),
        ({"classes": 3}, ("3",)),
        ({"classes": [3, 4]}, ("3", "4")),
    ],
)
def test_whole_numbers_and_lists_are_taken_for_what_they_mean(values, taken):
    changed = SameoParameters().changed(values)
    (name,) = values
    assert getattr(changed, name) == taken
    assert type(getattr(changed, name)) is type(taken)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"max_age_s": "long"}, "float"),
        ({"max_age_s": True}, "float"),
        ({"visible": 1}, "bool"),
        ({"model": 1.5}, "str"),
        ({"model": True}, "str"),
        ({"threads": 1.0}, "int"),
        ({"classes": True}, "list"),
        ({"classes": 1.5}, "list"),
    ],
)
def test_a_value_of_another_type_is_refused(values, kind):
    with pytest.raises(ValueError, match=f"must be of type {kind}; got"):
        SameoParameters().changed(values)


def test_a_change_leaves_the_other_values():
    changed = SameoParameters(max_wait_s=1.0).changed({"visible": False})
    assert changed == SameoParameters(max_wait_s=1.0, visible=False)


def test_only_what_the_model_depends_on_asks_for_another_model():
    parameters = SameoParameters()
    for one in dataclasses.fields(SameoParameters):
        other = dataclasses.replace(parameters, **{one.name: "another"})
        is_another_model = other.model_values != parameters.model_values
        of_model = {"model", "backend", "precision", "threads", "cache_dir"}
        of_model |= {"decoder_streams", "pin_threads"}
        assert is_another_model == (one.name in of_model)


def test_a_model_is_loaded_with_the_options_that_were_set():
    given = {
        "precision": "bf16",
        "threads": 3,
        "cache_dir": "kept",
        "decoder_streams": 2,
        "pin_threads": "off",
    }
    assert SameoParameters(**given).model_options == given
    unset = {**dict.fromkeys(given), "decoder_streams": 0, "pin_threads": "auto"}
    assert SameoParameters().model_options == unset


@pytest.mark.ros
def test_declared_ranges_and_descriptions_are_those_of_the_dataclass():
    node = FakeNode()
    assert declare_parameters(node) == SameoParameters()
    assert list(node.descriptors) == NAMES
    (age,) = node.descriptors["max_age_s"].floating_point_range
    assert (age.from_value, age.to_value) == (0.01, 60.0)
    (frames,) = node.descriptors["cache_frames"].integer_range
    assert (frames.from_value, frames.to_value) == (1, 64)
    assert node.descriptors["autostart"].read_only
    assert not node.descriptors["visible"].read_only
    assert "openvino" in node.descriptors["backend"].additional_constraints


@pytest.mark.ros
def test_off_at_the_start_may_come_as_a_truth_value():
    node = FakeNode(encode_ahead=False)
    assert declare_parameters(node).encode_ahead == "off"
    assert node.descriptors["encode_ahead"].dynamic_typing
    assert node.descriptors["max_age_s"].dynamic_typing
    assert not node.descriptors["visible"].dynamic_typing


@pytest.mark.ros
def test_parameters_that_nobody_declared_are_named_with_the_nearest_name():
    reliability = "qos_overrides./image.subscription.reliability"
    node = FakeNode(**{"min_detection_scor": 0.9, "zzz": 1, "visible": True,
                       reliability.replace("/", ""): "reliable"})  # fmt: skip
    declare_parameters(node)
    node.descriptors[reliability] = None
    sentence = describe_undeclared(node, of_topics=False)
    assert sentence == (
        "parameters that do not exist are ignored: min_detection_scor (did you mean "
        "min_detection_score?), zzz"
    )
    assert describe_undeclared(node, of_topics=True).endswith(
        f": qos_overrides.image.subscription.reliability (did you mean {reliability}?)"
    )


@pytest.mark.ros
def test_nothing_is_said_of_parameters_that_exist():
    raw, compressed = (f"qos_overrides./{topic}.subscription.depth" for topic in TRANSPORTS)
    node = FakeNode(visible=True, **{raw: 3, compressed: 3})
    declare_parameters(node)
    node.descriptors[compressed] = None
    assert [describe_undeclared(node, of_topics=one) for one in (False, True)] == ["", ""]


@pytest.mark.ros
def test_nothing_is_said_of_the_boxes_that_the_launch_file_names_and_nobody_reads():
    names = [f"qos_overrides./{topic}.subscription.reliability" for topic in ("boxes", "image")]
    node = FakeNode(**dict.fromkeys(names, "reliable"))
    declare_parameters(node)
    assert describe_undeclared(node, of_topics=True, unread=["/boxes"]).endswith(f": {names[1]}")


@pytest.mark.ros
def test_a_wrong_choice_at_the_start_is_refused():
    with pytest.raises(ValueError, match="image_transport must be one of raw, compressed"):
        declare_parameters(FakeNode(image_transport="theora"))


@pytest.mark.ros
def test_a_wrong_backend_at_the_start_is_left_to_the_loading_of_the_model():
    assert declare_parameters(FakeNode(backend="cuda")).backend == "cuda"


def test_the_yaml_file_names_every_parameter_with_its_default():
    content = yaml.safe_load((ROOT / "config" / "sameo.yaml").read_text())
    values = content["/**"]["ros__parameters"]
    assert list(values) == NAMES
    read = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    assert read == dataclasses.asdict(SameoParameters())


def test_the_table_has_one_row_per_parameter():
    rows = parameter_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == NAMES


def test_the_guide_shows_this_very_table():
    assert parameter_table() in (ROOT / "docs" / "node.md").read_text()
