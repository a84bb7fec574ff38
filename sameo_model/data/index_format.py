"""Binary form of a read data set: two tables and two text blobs, mapped into memory."""

from __future__ import annotations

from enum import IntFlag

import numpy as np

# Raise when the tables or the meaning of what the readers store in them change.
FORMAT_VERSION = 3

META_FILE = "meta.json"
IMAGES_FILE = "images.npy"
INSTANCES_FILE = "instances.npy"
CROWDS_FILE = "crowds.npy"
MASKS_FILE = "masks.bin"
PATHS_FILE = "paths.bin"

NO_COCO_ID = -1
MAX_COCO_IDS = 2

IMAGE_ROW = np.dtype(
    [
        ("image_id", "<i8"),
        ("image_hw", "<i4", (2,)),
        ("first_instance", "<i8"),
        ("num_instances", "<i4"),
        ("path_offset", "<i8"),
        ("path_length", "<i4"),
        ("coco_image_ids", "<i8", (MAX_COCO_IDS,)),
    ]
)

# `offset` points at amodal counts, visible counts and source id, one after the other; the visible
# counts are absent where VISIBLE_IS_AMODAL is set.
INSTANCE_ROW = np.dtype(
    [
        ("image_row", "<i4"),
        ("annotation_id", "<i8"),
        ("category", "<i4"),
        ("offset", "<i8"),
        ("amodal_length", "<i4"),
        ("visible_length", "<i4"),
        ("source_length", "<i2"),
        ("flags", "u1"),
        ("amodal_area", "<i4"),
        ("visible_area", "<i4"),
        ("amodal_box_xywh", "<i4", (4,)),
        ("visible_box_xywh", "<i4", (4,)),
        ("stated_rate", "<f8"),
    ]
)

# A table of its own: what takes instances must not meet crowds. `offset` points at the counts.
CROWD_ROW = np.dtype(
    [
        ("image_row", "<i4"),
        ("annotation_id", "<i8"),
        ("category", "<i4"),
        ("offset", "<i8"),
        ("length", "<i4"),
    ]
)


class InstanceFlag(IntFlag):
    """Bits of an instance's `flags`."""

    HAS_AMODAL = 1
    HAS_VISIBLE = 2
    VISIBLE_IS_AMODAL = 4
    IS_STUFF = 8
