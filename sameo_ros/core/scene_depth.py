"""Depth of one frame."""

from __future__ import annotations

from dataclasses import dataclass

from sameo_model.runtime.types import FloatArray
from sameo_ros.core.camera_model import CameraModel


@dataclass(frozen=True, eq=False)
class SceneDepth:
    """Depth that is registered to a colour image."""

    depth_m: FloatArray  # float32 (H, W), metres, NaN where unknown
    camera: CameraModel | None  # calibration of the image; None as long as no camera_info has come
    complaint: str = ""  # what seems wrong with it, in one sentence, "" if nothing
