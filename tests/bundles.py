"""Tiny model bundles whose answers can be derived by hand.

The amodal mask of a box is the box itself, the visible mask its upper half, and the predicted
IoU is the mean brightness of the image's red channel divided by 255.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from sameo_model.runtime import bundle as bundles
from sameo_model.runtime.bundle import DETECTOR

OPSET = 18


def make_tiny_bundle(folder: Path, image_size: int = 64, visible: bool = True) -> Path:
    """Write the bundle into a folder, which is made if need be, and return the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _save(_encoder(image_size), folder / bundles.IMAGE_ENCODER)
    _save(_decoder(image_size, visible=False), folder / bundles.MASK_DECODER)
    if visible:
        _save(_decoder(image_size, visible=True), folder / bundles.VISIBLE_DECODER)
    _write_info(folder, image_size, visible, {"kind": "image"})
    return folder


def make_tiny_window_bundle(folder: Path, image_size: int = 64, padding: float = 0.5) -> Path:
    """Write the same model for windows; its predicted IoU is the brightness of the window."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _save(_window_segmenter(image_size), folder / bundles.WINDOW_SEGMENTER)
    framing = {"kind": "window", "padding": padding, "min_side": 8}
    _write_info(folder, image_size, True, framing)
    return folder


def _write_info(folder: Path, image_size: int, visible: bool, framing: dict[str, Any]) -> None:
    bundles.write_bundle_info(
        folder,
        name="tiny",
        preset="tiny",
        framing=framing,
        image_size=image_size,
        normalisation={"mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0]},
        opset=OPSET,
        mask_selection="token0",
        has_visible_decoder=visible,
        licence="Apache-2.0",
        training={},
        scores={},
    )


def _encoder(size: int) -> onnx.GraphProto:
    """Average 16x16 patches of the image in [0, 1]; channel 0 is red, 1 green, 2 blue, rest 0."""
    weight = np.zeros((256, 3, 1, 1), np.float32)
    weight[[0, 1, 2], [0, 1, 2]] = 1.0
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["chw"], perm=[0, 3, 1, 2]),
        helper.make_node("Div", ["chw", "full_scale"], ["unit"]),
        helper.make_node(
            "AveragePool", ["unit"], ["patches"], kernel_shape=[16, 16], strides=[16, 16]
        ),
        helper.make_node("Conv", ["patches", "weight"], ["embedding"]),
    ]
    return helper.make_graph(
        nodes,
        "image_encoder",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, size, size, 3])],
        [_float_value("embedding", [1, 256, size // 16, size // 16])],
        [_constant("full_scale", np.float32(255)), _constant("weight", weight)],
    )


def _decoder(size: int, visible: bool) -> onnx.GraphProto:
    """Logits: distance in logit pixels to the nearest edge of the box, positive inside it."""
    stride = bundles.LOGIT_STRIDE
    side = size // stride
    nodes = [
        *_split_boxes(),
        *_draw("y2" if not visible else "half", "logits"),
        # The red channel's mean, one value per box.
        helper.make_node("Slice", ["embedding", "zero", "one", "axis1"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["brightness"], keepdims=0),
        helper.make_node("Mul", ["x1", "nought"], ["per_box4"]),
        helper.make_node("Squeeze", ["per_box4", "axis1"], ["per_box"]),
        helper.make_node("Add", ["per_box", "brightness"], ["iou"]),
    ]
    logits_name = "visible_logits" if visible else "amodal_logits"
    # The visible decoder depends on the embedding as a real one does, without changing masks.
    nodes.append(helper.make_node("Mul", ["brightness", "nought"], ["no_change"]))
    nodes.append(helper.make_node("Add", ["logits", "no_change"], [logits_name]))
    outputs = [_float_value(logits_name, ["N", side, side])]
    if not visible:
        nodes.append(helper.make_node("Identity", ["iou"], ["predicted_iou"]))
        outputs.append(_float_value("predicted_iou", ["N"]))
    return helper.make_graph(
        nodes,
        "visible_decoder" if visible else "mask_decoder",
        [
            _float_value("embedding", [1, 256, size // 16, size // 16]),
            _float_value("boxes", ["N", 4]),
        ],
        outputs,
        [
            *_drawing_constants(side, stride),
            _constant("nought", np.float32(0)),
            _constant("zero", np.array([0])),
            _constant("one", np.array([1])),
        ],
    )


def _window_segmenter(size: int) -> onnx.GraphProto:
    """Both masks of the box in each window; the predicted IoU is the window's mean red."""
    stride = bundles.WINDOW_LOGIT_STRIDE
    side = size // stride
    nodes = [
        *_split_boxes(),
        *_draw("y2", "amodal_logits"),
        *_draw("half", "visible_logits"),
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["float", "zero", "one", "axis3"], ["red"]),
        helper.make_node("ReduceMean", ["red", "axes"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "full_scale"], ["predicted_iou"]),
    ]
    logits: list[int | str] = ["N", side, side]
    return helper.make_graph(
        nodes,
        "window_segmenter",
        [
            helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", size, size, 3]),
            _float_value("boxes", ["N", 4]),
        ],
        [
            _float_value("amodal_logits", logits),
            _float_value("visible_logits", logits),
            _float_value("predicted_iou", ["N"]),
        ],
        [
            *_drawing_constants(side, stride),
            _constant("full_scale", np.float32(255)),
            _constant("zero", np.array([0])),
            _constant("one", np.array([1])),
            _constant("axis3", np.array([3])),
            _constant("axes", np.array([1, 2, 3])),
        ],
    )


def _split_boxes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("Split", ["boxes"], ["x1", "y1", "x2", "y2"], axis=1, num_outputs=4),
        helper.make_node("Mean", ["y1", "y2"], ["half"]),
    ]


def _draw(bottom: str, output: str) -> list[onnx.NodeProto]:
    """Draw boxes whose lower edge is `bottom`; other names are made unique by the output's."""

    def name(text: str) -> str:
        return f"{output}_{text}"

    return [
        helper.make_node("Sub", ["centres", "x1"], [name("left")]),
        helper.make_node("Sub", ["x2", "centres"], [name("right")]),
        helper.make_node("Sub", ["centres", "y1"], [name("above")]),
        helper.make_node("Sub", [bottom, "centres"], [name("below")]),
        helper.make_node("Min", [name("left"), name("right")], [name("horizontal")]),
        helper.make_node("Min", [name("above"), name("below")], [name("vertical")]),
        helper.make_node("Unsqueeze", [name("horizontal"), "axis1"], [name("columns")]),
        helper.make_node("Unsqueeze", [name("vertical"), "axis2"], [name("rows")]),
        helper.make_node("Min", [name("columns"), name("rows")], [name("distance")]),
        helper.make_node("Div", [name("distance"), "stride"], [output]),
    ]


def _drawing_constants(side: int, stride: int) -> list[onnx.TensorProto]:
    centres = (np.arange(side, dtype=np.float32) + 0.5) * stride
    return [
        _constant("centres", centres[None]),
        _constant("stride", np.float32(stride)),
        _constant("axis1", np.array([1])),
        _constant("axis2", np.array([2])),
    ]


def _float_value(name: str, shape: list[int | str]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _constant(name: str, value: np.ndarray | np.generic) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(value), name)


def _save(graph: onnx.GraphProto, path: Path) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


DETECTOR_SIZE = 64


TINY_BOXES = ((8, 8, 32, 40), (8, 8, 32, 40), (40, 40, 64, 64), (0, 0, 4, 4))
TINY_SHARES = (1.0, 0.9, 0.5, 0.1)


def add_tiny_detector(
    folder: Path,
    boxes: Sequence[Sequence[float]] = TINY_BOXES,
    shares: Sequence[float] = TINY_SHARES,
) -> Path:
    """Add a detector to a bundle: by default one object found twice, another, and a speck.

    Args:
        folder: The bundle.
        boxes: Its cells, in pixels of 64 x 64; whole objects reach 8 pixels further down.
        shares: Scores as shares of the mean brightness of the image's red channel.
    """
    folder = Path(folder)
    _save(_detector(np.array(boxes, np.float32), np.array(shares, np.float32)), folder / DETECTOR)
    info = {
        key: value
        for key, value in vars(bundles.load_bundle(folder).info).items()
        if key != "files"
    }
    detector = {"image_size": DETECTOR_SIZE, "min_score": 0.25, "training": {}, "scores": {}}
    bundles.write_bundle_info(folder, **{**info, "detector": detector})
    return folder


def _detector(boxes: np.ndarray, shares: np.ndarray) -> onnx.GraphProto:
    whole = boxes + np.array([0, 0, 0, 8], np.float32)
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["float", "zero", "one", "axis3"], ["red"]),
        helper.make_node("ReduceMean", ["red"], ["mean"], keepdims=0),
        helper.make_node("Div", ["mean", "full_scale"], ["brightness"]),
        helper.make_node("Mul", ["shares", "brightness"], ["scores"]),
        helper.make_node("Identity", ["constant_boxes"], ["boxes"]),
        helper.make_node("Identity", ["constant_whole"], ["amodal_boxes"]),
    ]
    size = DETECTOR_SIZE
    return helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, size, size, 3])],
        [
            _float_value("boxes", [len(boxes), 4]),
            _float_value("amodal_boxes", [len(boxes), 4]),
            _float_value("scores", [len(boxes)]),
        ],
        [
            _constant("constant_boxes", boxes),
            _constant("constant_whole", whole),
            _constant("shares", shares),
            _constant("full_scale", np.float32(255)),
            _constant("zero", np.array([0])),
            _constant("one", np.array([1])),
            _constant("axis3", np.array([3])),
        ],
    )
