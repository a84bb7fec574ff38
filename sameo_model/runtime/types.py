"""Values that the runtime hands to its callers: mask crops, embeddings and predictions."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Uint8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]
ImageHW = tuple[int, int]


@dataclass(frozen=True, eq=False)
class MaskCrop:
    """The part of a full-image mask that holds all of its set pixels.

    Attributes:
        x: Column of the crop's left edge in the image, pixels.
        y: Row of the crop's top edge in the image, pixels.
        mask: bool (h, w), True on the object. The crop is tight; an empty mask has shape (0, 0)
            and lies at x = y = 0. The crop lies wholly inside the image.
    """

    x: int
    y: int
    mask: BoolArray

    @classmethod
    def empty(cls) -> MaskCrop:
        """Return the crop of a mask without any set pixel."""
        return cls(0, 0, np.zeros((0, 0), dtype=np.bool_))

    @classmethod
    def from_mask(cls, mask: BoolArray, x: int = 0, y: int = 0) -> MaskCrop:
        """Cut a mask to its tight box.

        Args:
            mask: bool (h, w).
            x: Column in the image of the mask's left edge, pixels.
            y: Row in the image of the mask's top edge, pixels.
        """
        rows = np.flatnonzero(mask.any(axis=1))
        if rows.size == 0:
            return cls.empty()
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        columns = np.flatnonzero(mask[top:bottom].any(axis=0))
        left, right = int(columns[0]), int(columns[-1]) + 1
        tight = np.ascontiguousarray(mask[top:bottom, left:right])
        return cls(x + left, y + top, tight)

    @property
    def area(self) -> int:
        """Number of set pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def box_xyxy(self) -> tuple[int, int, int, int]:
        """Edges x1, y1, x2, y2 of the crop in image pixels; x2 and y2 are exclusive."""
        height, width = self.mask.shape
        return self.x, self.y, self.x + width, self.y + height

    def to_image(self, image_hw: ImageHW) -> BoolArray:
        """Paint the crop into a full mask.

        Args:
            image_hw: Height and width of the image, pixels.

        Returns:
            bool (H, W).
        """
        full = np.zeros(image_hw, dtype=np.bool_)
        x1, y1, x2, y2 = self.box_xyxy
        full[y1:y2, x1:x2] = self.mask
        return full

    def cut(self, other: MaskCrop) -> BoolArray:
        """Return what lies of another mask of the same image inside this crop, bool (h, w)."""
        part = np.zeros_like(self.mask)
        mine, theirs = self._overlap(other)
        part[mine] = other.mask[theirs]
        return part

    def subtract(self, other: MaskCrop) -> MaskCrop:
        """Return the pixels that another mask of the same image does not set."""
        return MaskCrop.from_mask(self.mask & ~self.cut(other), self.x, self.y)

    def intersection_area(self, other: MaskCrop) -> int:
        """Count the pixels that are set in both masks of the same image."""
        mine, theirs = self._overlap(other)
        return int(np.count_nonzero(self.mask[mine] & other.mask[theirs]))

    def iou(self, other: MaskCrop) -> float:
        """Return intersection over union, in [0, 1]; NaN where both masks are empty."""
        intersection = self.intersection_area(other)
        union = self.area + other.area - intersection
        return intersection / union if union else math.nan

    def _overlap(self, other: MaskCrop) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return rows and columns that both crops have, in this one and in the other one."""
        x1, y1, x2, y2 = self.box_xyxy
        u1, v1, u2, v2 = other.box_xyxy
        left, top = max(x1, u1), max(y1, v1)
        right, bottom = max(min(x2, u2), left), max(min(y2, v2), top)
        mine = slice(top - y1, bottom - y1), slice(left - x1, right - x1)
        return mine, (slice(top - v1, bottom - v1), slice(left - u1, right - u1))


@dataclass(frozen=True, eq=False)
class Detections:
    """Objects that were found in an image, best score first.

    Attributes:
        boxes_xyxy: float32 (N, 4), boxes of the visible parts, x1, y1, x2, y2 in pixels of the
            image.
        amodal_boxes_xyxy: float32 (N, 4), boxes of the whole objects as far as they lie inside the
            image; each contains its visible box.
        scores: float32 (N,), how sure it is that the box encloses one object, in [0, 1].
    """

    boxes_xyxy: FloatArray
    amodal_boxes_xyxy: FloatArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, rows: npt.NDArray[np.intp]) -> Detections:
        """Return only the objects with these indices, int (M,)."""
        return Detections(self.boxes_xyxy[rows], self.amodal_boxes_xyxy[rows], self.scores[rows])


@dataclass(frozen=True, eq=False)
class Embedding:
    """An encoded image, as `Predictor.encode` returns it; good only for the predictor that made it.

    Attributes:
        image_hw: Height and width of the image that was encoded, pixels.
        handle: What the backend keeps of the image, on its own device.
        owner: The backend that made the handle.
    """

    image_hw: ImageHW
    handle: Any = field(repr=False)
    owner: object = field(repr=False)


@dataclass(frozen=True, eq=False)
class Prediction:
    """Masks for N boxes of one image, in the order of the boxes.

    Both decoders are reported as they are: a predicted amodal mask need not contain the whole
    predicted visible mask. A box that cannot be used (see `boxes.check_boxes`) keeps its row:
    empty masks, a predicted IoU of 0 and a NaN occlusion ratio.

    Attributes:
        amodal_masks: N crops, the whole object with its hidden part.
        visible_masks: N crops, the part in view; None where the visible decoder did not run.
        predicted_iou: float32 (N,), the model's own estimate of the amodal mask's IoU, in [0, 1].
        occlusion_ratio: float32 (N,), |amodal minus visible| / |amodal|, in [0, 1]; NaN where the
            visible mask is unknown or the amodal mask is empty.
    """

    amodal_masks: list[MaskCrop]
    visible_masks: list[MaskCrop] | None
    predicted_iou: FloatArray
    occlusion_ratio: FloatArray

    def __len__(self) -> int:
        return len(self.amodal_masks)

    def select(self, rows: npt.NDArray[np.intp]) -> Prediction:
        """Return only the masks of the boxes with these indices, int (M,)."""
        visible = self.visible_masks
        return Prediction(
            [self.amodal_masks[row] for row in rows],
            None if visible is None else [visible[row] for row in rows],
            self.predicted_iou[rows],
            self.occlusion_ratio[rows],
        )


class FoundObjects(NamedTuple):
    """Objects that were found in an image with their masks, in the same order, best score first.

    Attributes:
        detections: Boxes and scores.
        prediction: Masks.
    """

    detections: Detections
    prediction: Prediction
