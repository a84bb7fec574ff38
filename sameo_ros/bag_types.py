"""Messages of recorded bags, without ROS: definitions, empty messages, storable arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

_ROOT = Path(__file__).resolve().parents[1]
_SOURCE_FOLDERS = {
    "sameo_ros": _ROOT / "msg",
    "vision_msgs": _ROOT / "environment" / "vision_msgs" / "msg",
}


def build_typestore() -> Typestore:
    """Build a store of the common types, of vision_msgs and of our own.

    Raises:
        FileNotFoundError: If the definitions of a package are not on this machine.
    """
    store = get_typestore(Stores.LATEST)
    for package in _SOURCE_FOLDERS:
        types: dict[str, Any] = {}
        for path in find_definitions(package):
            types.update(get_types_from_msg(path.read_text(), f"{package}/msg/{path.stem}"))
        store.register(types)
    return store


def find_definitions(package: str) -> list[Path]:
    """Find the .msg files of a package: installed ones, else those of the source tree.

    Raises:
        FileNotFoundError: If there are none.
    """
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(":")), sys.prefix]
    folders = [Path(prefix) / "share" / package / "msg" for prefix in prefixes]
    for folder in (*folders, _SOURCE_FOLDERS[package]):
        paths = sorted(folder.glob("*.msg"))
        if paths:
            return paths
    raise FileNotFoundError(
        f"the message definitions of {package} are not installed; source your ROS distribution, "
        "or run `make setup`"
    )


def make_message(store: Typestore, name: str) -> Any:
    """Make a message whose fields are zero, empty or messages of that kind.

    Args:
        store: The types.
        name: Such as `sensor_msgs/msg/Image`.
    """
    fields = {field: _make_value(store, kind) for field, kind in store.fielddefs[name][1]}
    return store.types[name](**fields)


def make_storable(store: Typestore, message: Any) -> Any:
    """Turn sequences of numbers inside a message into the arrays that serialising needs.

    Args:
        store: The types.
        message: A message made by `make_message`; it is changed.

    Returns:
        The same message.
    """
    fields: Any = store.fielddefs[message.__msgtype__][1]
    for field, (node, details) in fields:
        value = getattr(message, field)
        if node == Nodetype.NAME:
            make_storable(store, value)
        elif node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            element, element_details = details[0]
            if element == Nodetype.NAME:
                for one in value:
                    make_storable(store, one)
            elif element_details[0] != "string":
                setattr(message, field, np.asarray(value, dtype=element_details[0]))
    return message


def _make_value(store: Typestore, kind: Any) -> Any:
    node, details = kind
    if node == Nodetype.NAME:
        return make_message(store, details)
    if node == Nodetype.BASE:
        return {"string": "", "bool": False, "float32": 0.0, "float64": 0.0}.get(details[0], 0)
    return list(_make_elements(store, details)) if node == Nodetype.ARRAY else []


def _make_elements(store: Typestore, details: Any) -> Iterator[Any]:
    element, length = details
    for _ in range(length):
        yield _make_value(store, element)
