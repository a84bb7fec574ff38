"""The settings of the node: every default, description and range, once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sameo_ros.core.box_frame import parse_box_frame
from sameo_ros.core.statistics import Alarms


def _parameter(
    default: Any,
    description: str,
    *,
    limits: tuple[float, float] | None = None,
    choices: tuple[str, ...] | None = None,
    read_only: bool = False,
    with_model: bool = False,
) -> Any:
    metadata = {
        "description": description,
        "limits": limits,
        "choices": choices,
        "read_only": read_only,
        "with_model": with_model,
    }
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class SameoParameters:
    """Values of the node's parameters; the metadata of each field says what it means."""

    model: str = _parameter(
        "sameo_lite", "Name of a bundled model, or path of a bundle folder.", with_model=True
    )
    backend: str = _parameter(
        "auto",
        "What runs the model; auto: the first of TensorRT, OpenVINO and ONNX Runtime that works "
        "here.",
        choices=("auto", "openvino", "onnxruntime", "tensorrt"),
        with_model=True,
    )
    precision: str = _parameter(
        "",
        "Precision of the model; empty: OpenVINO measures and checks bf16, others keep the "
        "bundle's.",
        choices=("", "f32", "bf16", "f16"), with_model=True,
    )  # fmt: skip
    threads: int = _parameter(
        0, "CPU threads of the model; 0: one per core.", limits=(0, 256), with_model=True
    )  # fmt: skip
    decoder_streams: int = _parameter(
        0,
        "Parts in which OpenVINO decodes boxes at once, at most threads; 0: one per thread, at "
        "most 4.",
        limits=(0, 256),
        with_model=True,
    )
    pin_threads: str = _parameter(
        "auto",
        "Bind the model's threads to CPU cores; auto: on if OpenVINO has all cores.",
        choices=("auto", "on", "off"),
        with_model=True,
    )
    cache_dir: str = _parameter(
        "",
        "Folder of compiled models (TensorRT engines); empty: the backend's default.",
        with_model=True,
    )
    autostart: bool = _parameter(
        True, "Configure and activate without a lifecycle manager.", read_only=True
    )
    image_transport: str = _parameter(
        "raw",
        "compressed reads sensor_msgs/CompressedImage on the image topic's name with /compressed.",
        choices=("raw", "compressed"),
        read_only=True,
    )
    cameras: Sequence[str] = _parameter(
        ("",),
        "Cameras that share the model; camera x has the topics x/image, x/detections and "
        "~/x/masks. One empty name: a single camera without prefix.",
        read_only=True,
    )
    encode_ahead: str = _parameter(
        "auto",
        "Encode images before their boxes come: on (the newest), off, or auto (those that the "
        "detector will answer, learned from its rhythm); off for models of windows (sameo_lite).",
        choices=("on", "off", "auto"),
    )
    stamp_tolerance_s: float = _parameter(
        0.0, "Largest difference between the stamps of boxes and image.", limits=(0, 10)
    )
    max_age_s: float = _parameter(
        2.0, "How long an image waits for its boxes; must exceed the detector's latency.",
        limits=(0.01, 60),
    )  # fmt: skip
    max_wait_s: float = _parameter(
        0.5, "How long boxes wait for their image, or for its depth.", limits=(0, 10)
    )
    cache_frames: int = _parameter(4, "Number of encoded images that are kept.", limits=(1, 64))
    visible: bool = _parameter(
        True, "Predict visible masks too; occlusion ratio and order need them."
    )
    min_detection_score: float = _parameter(
        0.0, "Detections with a lower score are ignored.", limits=(0, 1)
    )
    classes: Sequence[str] = _parameter(
        ("",),
        "Classes to segment, by name or number; one empty name: all.",
    )
    detector: str = _parameter(
        "topic",
        "Source of the boxes: topic, or builtin (the model's own detector, published on "
        "~/detections).",
        choices=("topic", "builtin"),
        read_only=True,
    )
    detections_type: str = _parameter(
        "auto",
        "Type of the detections topic: vision_msgs (Detection2DArray), yolo_msgs "
        "(DetectionArray), or auto: its publisher's.",
        choices=("auto", "vision_msgs", "yolo_msgs"),
        read_only=True,
    )
    detections_frame: str = _parameter(
        "auto",
        "Pixels of the boxes: image, or a network's input, as in letterbox:640x640 (bars on both "
        "sides), corner:640x640 (bars at the right or bottom) or stretch:640x640; auto: image, "
        "but 640x640 if boxes lie outside it.",
    )
    max_boxes: int = _parameter(
        300, "Largest number of boxes per message; those with the highest scores count.",
        limits=(1, 10000),
    )  # fmt: skip
    overlay_style: str = _parameter(
        "full", "What ~/overlay shows: masks, boxes and labels (full), or masks alone.",
        choices=("full", "masks"),
    )  # fmt: skip
    segment_max_age_s: float = _parameter(
        2.0, "Largest age of the latest image that ~/segment answers.",
        limits=(0.01, 1e6),
    )  # fmt: skip
    depth_tolerance_s: float = _parameter(
        0.05, "Largest difference between the stamps of depth and image.", limits=(0, 10)
    )
    rectified: str = _parameter(
        "auto",
        "Whether P of camera_info counts (on), or K and D (off); auto: by rect or raw in the "
        "topic's name, else on if P differs from K and the lens distorts.",
        choices=("auto", "on", "off"),
    )
    target_frame: str = _parameter(
        "",
        "Frame of ~/objects, ~/markers and ~/points, through /tf; its z should point up. Empty: "
        "the camera's optical frame.",
        read_only=True,
    )
    points_of: str = _parameter(
        "",
        "Detection id or index of the object in ~/points; all: every object, with the field "
        "instance.",
    )
    warn_age_ms: float = _parameter(
        1000.0, "Warn if masks are older (p95, from stamp to publishing); 0: never.",
        limits=(0, 1e9),
    )  # fmt: skip
    error_age_ms: float = _parameter(
        5000.0, "Report an error if masks are older (p95); 0: never.", limits=(0, 1e9)
    )
    warn_dropped_share: float = _parameter(
        0.5, "Warn if a larger share of the last 100 detection messages was dropped; 1: never.",
        limits=(0, 1),
    )  # fmt: skip
    diagnostics_period_s: float = _parameter(
        1.0, "Time between messages on /diagnostics.", limits=(0.05, 60), read_only=True
    )

    def __post_init__(self) -> None:
        """Refuse what cannot go together."""
        if self.detector == "builtin" and any(self.classes):
            raise ValueError(
                "parameter classes must be empty with detector builtin, whose boxes have no class; "
                f"got {list(self.classes)}; leave it out, or set detector to topic"
            )

    @property
    def alarms(self) -> Alarms:
        """The thresholds of the diagnostics."""
        return Alarms(self.warn_age_ms, self.error_age_ms, self.warn_dropped_share)

    @property
    def model_values(self) -> tuple[Any, ...]:
        """What a loaded model depends on; another tuple needs another model."""
        return tuple(
            getattr(self, one.name)
            for one in dataclasses.fields(self)
            if one.metadata["with_model"]
        )

    @property
    def model_options(self) -> dict[str, Any]:
        """Keyword arguments of `load_predictor` besides model and backend."""
        return {
            "precision": self.precision or None,
            "threads": self.threads or None,
            "decoder_streams": self.decoder_streams,
            "pin_threads": self.pin_threads,
            "cache_dir": self.cache_dir or None,
        }

    def changed(self, values: Mapping[str, Any]) -> SameoParameters:
        """Return a copy with other values.

        Raises:
            ValueError: If a value is out of its range or none of its choices.
        """
        changes = {
            one.name: check_value(one, values[one.name])
            for one in dataclasses.fields(self)
            if one.name in values
        }
        return dataclasses.replace(self, **changes)


class SettingsHolder:
    """Holds the current settings.

    One thread replaces them as a whole; each job of the worker reads them once, when it starts.

    Attributes:
        current: The current settings.
    """

    def __init__(self, current: SameoParameters) -> None:
        """Hold the settings that the node was started with."""
        self.current = current


def check_value(one: dataclasses.Field[Any], value: Any) -> Any:
    """Check a value and return it in the parameter's type."""
    value = convert_value(one, value)
    choices, limits = one.metadata["choices"], one.metadata["limits"]
    if choices is not None and value not in choices:
        named = ", ".join(choice or '""' for choice in choices)
        raise ValueError(f"parameter {one.name} must be one of {named}; got {value!r}")
    if one.name == "cameras":
        _check_cameras(value)
    if one.name == "detections_frame":
        parse_box_frame(value)
    if limits is not None and not limits[0] <= value <= limits[1]:
        raise ValueError(
            f"parameter {one.name} must be from {limits[0]} to {limits[1]}; got {value}"
        )
    return value


def convert_value(one: dataclasses.Field[Any], value: Any) -> Any:
    """Convert a value to the parameter's type; YAML may have parsed it as another."""
    kind = type(one.default)
    if kind is str and type(value) is bool and one.metadata["choices"]:
        return "on" if value else "off"
    if type(value) is int and kind in (str, float):
        return kind(value)
    if kind is tuple and type(value) not in (bool, float):
        return read_names(value)
    if type(value) is not kind:
        named = "list" if kind is tuple else kind.__name__
        raise ValueError(f"parameter {one.name} must be of type {named}; got {value!r}")
    return value


def read_names(value: Any) -> tuple[str, ...]:
    """Return the names that a parameter holds: `left`, `left,right`, a list of them, or nothing.

    Args:
        value: Text, a number, a list of either, or None, as which ROS hands over an empty list.

    Returns:
        The names; one empty name for nothing.
    """
    value = str(value) if type(value) is int else value
    names = value.split(",") if isinstance(value, str) else value or []
    return tuple(str(name).strip() for name in names) or ("",)


def _check_cameras(names: Sequence[str]) -> None:
    is_single = list(names) == [""]
    is_several = bool(names) and all(re.fullmatch(r"[A-Za-z]\w*", name, re.ASCII) for name in names)
    if not (is_single or is_several) or len(set(names)) < len(names):
        raise ValueError(
            "parameter cameras must hold different names of letters, digits and underscores, or "
            f"one empty name; got {list(names)}"
        )
