"""Trace the network to small ONNX graphs whose weights stay outside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx
import onnx_ir
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from sameo_model.export.box_decoder import decode_boxes
from sameo_model.modeling.box_detector import BoxDetector
from sameo_model.modeling.sameo import MaskKind, Sameo
from sameo_model.runtime.clicks import CLICK, MAX_CLICKS, NO_CLICK

OPSET = 18
# Version 9 is what the oldest supported runtimes read.
IR_VERSION = 9
NAME_PREFIX = "model."
# Neither 0 nor 1, which the tracer would take for constants.
TRACED_BOXES = 3


class EncoderGraph(nn.Module):
    """`Sameo.encode` for the runtime's uint8 images, of networks that return an embedding alone."""

    def __init__(self, model: Sameo) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Map uint8 (1, S, S, 3), RGB, to float32 (1, 256, S/16, S/16)."""
        # Cast before anything else: TensorRT takes uint8 as an input, but no layer computes in it.
        embedding = self.model.encode(image.float().permute(0, 3, 1, 2) / 255)
        assert isinstance(embedding, Tensor)
        return embedding


class DecoderGraph(nn.Module):
    """`box_decoder.decode_boxes`: boxes of one image, in pixels of the model's square input."""

    def __init__(self, model: Sameo, kind: MaskKind) -> None:
        super().__init__()
        self.model = model
        self.kind: MaskKind = kind

    def forward(self, embedding: Tensor, boxes: Tensor) -> tuple[Tensor, ...]:
        """Map (1, 256, S/16, S/16) and (N, 4) to logits (N, S/4, S/4) and, amodal, IoU (N,)."""
        logits, iou = decode_boxes(self.model, self.kind, embedding, boxes)
        return (logits, iou) if self.kind == "amodal" else (logits,)


class WindowGraph(nn.Module):
    """`Sameo.encode` and `Sameo.draw_masks` for a batch of windows with one box each."""

    def __init__(self, model: Sameo) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        images: Tensor,
        boxes: Tensor,
        points_xy: Tensor | None = None,
        point_labels: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Map uint8 (N, S, S, 3), RGB, (N, 4), (N, 4, 2) and (N, 4) to what `BoxMasks` holds."""
        side = self.model.image_size
        drawn = self.model.draw_masks(
            self.model.encode(images.float().permute(0, 3, 1, 2) / 255),
            boxes.unsqueeze(1),
            (side, side),
            points_xy=None if points_xy is None else points_xy.unsqueeze(1),
            point_labels=None if point_labels is None else point_labels.unsqueeze(1),
        )
        return tuple(values.squeeze(1) for values in drawn if values is not None)


class ClickGraph(nn.Module):
    """`Sameo.draw_masks` for boxes of one image with clicks beside them."""

    def __init__(self, model: Sameo) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, embedding: Tensor, boxes: Tensor, points_xy: Tensor, point_labels: Tensor
    ) -> tuple[Tensor, ...]:
        """Map (1, 256, S/16, S/16), (N, 4), (N, 4, 2) and (N, 4) to logits and IoU."""
        drawn = self.model.draw_masks(
            embedding,
            boxes.unsqueeze(0),
            (self.model.image_size, self.model.image_size),
            points_xy=points_xy.unsqueeze(0),
            point_labels=point_labels.unsqueeze(0),
        )
        return tuple(values.squeeze(0) for values in drawn if values is not None)


class DetectorGraph(nn.Module):
    """`BoxDetector` for the runtime's uint8 images."""

    def __init__(self, model: BoxDetector) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map uint8 (1, D, D, 3), RGB, to boxes (A, 4), whole boxes (A, 4) and scores (A,)."""
        found = self.model(image.float().permute(0, 3, 1, 2))
        rows = (found.visible_xyxy, found.amodal_xyxy, found.scores())
        return tuple(values.squeeze(0) for values in rows)


def detector_graph(model: BoxDetector) -> onnx.ModelProto:
    """Return the graph of the detector, see `runtime.bundle`.

    Weights are graph inputs named as in the network's state dict; see `weights.attach_weights`.
    """
    image = torch.zeros(1, model.image_size, model.image_size, 3, dtype=torch.uint8)
    outputs = ("boxes", "amodal_boxes", "scores")
    return _trace(DetectorGraph(model), {}, outputs, {"image": image})


def click_graph(model: Sameo) -> onnx.ModelProto:
    """Return the graph for clicks beside boxes, see `runtime.bundle`.

    Weights are graph inputs named as in the network's state dict; see `weights.attach_weights`.
    """
    side, grid = model.image_size, model.image_size // 16
    labels = torch.full((TRACED_BOXES, MAX_CLICKS), float(NO_CLICK))
    labels[:, 0] = CLICK
    clicks = {
        "points_xy": torch.rand(TRACED_BOXES, MAX_CLICKS, 2) * side,
        "point_labels": labels,
    }
    if model.shares_decoder:
        return window_graph(model, clicks)
    shared = {"embedding": torch.zeros(1, 256, grid, grid)}
    examples = {"boxes": torch.rand(TRACED_BOXES, 4) * side, **clicks}
    return _trace(ClickGraph(model), examples, _mask_outputs(model), shared)


def window_graph(model: Sameo, clicks: dict[str, Tensor] | None = None) -> onnx.ModelProto:
    """Return the graph of a window bundle, whose weights are inputs as those of `encoder_graph`.

    It maps `images` uint8 (N, S, S, 3), RGB, and `boxes` float32 (N, 4) in window pixels to
    `amodal_logits` and `visible_logits` float32 (N, S/2, S/2) and `predicted_iou` float32 (N,).

    Args:
        clicks: Examples of the inputs `points_xy` and `point_labels`; None for a graph without.
    """
    side = model.image_size
    examples = {
        "images": torch.zeros(TRACED_BOXES, side, side, 3, dtype=torch.uint8),
        "boxes": torch.rand(TRACED_BOXES, 4) * side,
        **(clicks or {}),
    }
    return _trace(WindowGraph(model), examples, _mask_outputs(model))


def _mask_outputs(model: Sameo) -> tuple[str, ...]:
    """Return the names of the values of `BoxMasks`."""
    names = ("amodal_logits", "predicted_iou", "visible_logits")
    return names if model.has_visible_decoder else names[:2]


def encoder_graph(model: Sameo) -> onnx.ModelProto:
    """Return the graph `image` uint8 (1, S, S, 3) to `embedding` float32 (1, 256, S/16, S/16).

    Weights are graph inputs named as in the network's state dict; see `weights.attach_weights`.
    """
    side = model.image_size
    image = torch.zeros(1, side, side, 3, dtype=torch.uint8)
    return _trace(EncoderGraph(model), {}, ("embedding",), {"image": image})


def decoder_graph(model: Sameo, kind: MaskKind) -> onnx.ModelProto:
    """Return the graph `embedding`, `boxes` float32 (N, 4) to logits and, amodal, predicted IoU.

    Weights are graph inputs named as in the network's state dict; see `weights.attach_weights`.
    """
    grid = model.image_size // 16
    boxes = torch.rand(TRACED_BOXES, 4) * model.image_size
    outputs = ("amodal_logits", "predicted_iou") if kind == "amodal" else ("visible_logits",)
    shared = {"embedding": torch.zeros(1, 256, grid, grid)}
    return _trace(DecoderGraph(model, kind), {"boxes": boxes}, outputs, shared)


def _trace(
    module: nn.Module,
    rows: dict[str, Tensor],
    output_names: tuple[str, ...],
    shared: dict[str, Tensor] | None = None,
) -> onnx.ModelProto:
    """Trace a module.

    Args:
        module: Its `forward` takes the examples by name.
        rows: Examples of inputs with one row for each box.
        shared: Examples of inputs whose shape is fixed.
    """
    fixed = shared or {}
    count = torch.export.Dim("N", min=1)
    dynamic_shapes: dict[str, dict] = {
        **{name: {} for name in fixed},
        **{name: {0: count} for name in rows},
    }
    examples = {**fixed, **rows}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            kwargs=examples,
            input_names=list(examples),
            output_names=list(output_names),
            dynamic_shapes=dynamic_shapes,
            opset_version=OPSET,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    weight_names = {name for name, _ in module.named_parameters()}
    weight_names |= {name for name in module.state_dict()}
    _turn_weights_into_inputs(program.model, weight_names)
    optimizer.optimize_ir(program.model)
    graph = onnx_ir.to_proto(program.model)
    _strip_comments(graph)
    graph.ir_version = IR_VERSION
    return graph


def _turn_weights_into_inputs(model: onnx_ir.Model, weight_names: set[str]) -> None:
    """Hide the weights' values, so that the optimiser folds none of them into new constants."""
    for name in weight_names & set(model.graph.initializers):
        value = model.graph.initializers.pop(name)
        value.const_value = None
        model.graph.inputs.append(value)
        value.name = name.removeprefix(NAME_PREFIX)


def _strip_comments(model: onnx.ModelProto) -> None:
    """Delete the tracer's metadata: it is large and names files of the exporting machine."""
    graph = model.graph
    for item in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info):
        item.ClearField("doc_string")
        item.ClearField("metadata_props")
    del graph.value_info[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's log and warnings."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
