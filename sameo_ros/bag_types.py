"""Messages of recorded bags, without ROS: definitions, empty messages, storable arrays."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import MessageDefinitionFormat, Nodetype
from rosbags.typesys import (
    Stores,
    TypesysError,
    get_types_from_idl,
    get_types_from_msg,
    get_typestore,
)
from rosbags.typesys.store import Typestore

UNKNOWN_HASH = "RIHS01_" + "0" * 64

_ROOT = Path(__file__).resolve().parents[1]
SOURCE_FOLDERS = {
    "sameo_ros": _ROOT / "msg",
    "vision_msgs": _ROOT / "environment" / "vision_msgs" / "msg",
    "yolo_msgs": _ROOT / "environment" / "yolo_msgs" / "msg",
}
"""Folders with the .msg files of packages in a source checkout."""
_OPTIONAL = "yolo_msgs"


def build_typestore() -> Typestore:
    """Build a store of the common types, of vision_msgs, of our own and, if there, of yolo_msgs.

    Raises:
        FileNotFoundError: If the definitions of a package are not on this machine.
    """
    store = get_typestore(Stores.LATEST)
    for package in SOURCE_FOLDERS:
        types: dict[str, Any] = {}
        try:
            paths = find_definitions(package)
        except FileNotFoundError:
            if package == _OPTIONAL:  # bags have the definitions of what is in them
                continue
            raise
        for path in paths:
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
    for folder in (*folders, SOURCE_FOLDERS[package]):
        paths = sorted(folder.glob("*.msg"))
        if paths:
            return paths
    raise FileNotFoundError(
        f"the message definitions of {package} are not installed; source your ROS distribution, "
        "or run `make setup`"
    )


def build_reading_store(connection: Any, own: Typestore) -> Typestore:
    """Build the types that a recorded topic is read with: those of the bag, where it has them.

    Args:
        connection: A connection of a rosbags reader.
        own: The types of this machine; used where the bag brings none.

    Raises:
        ValueError: If the bag's definition lacks a field that is read, or there is no
            definition.
    """
    definition, name = connection.msgdef, connection.msgtype
    is_known = name in own.fielddefs
    if definition.format == MessageDefinitionFormat.NONE or not definition.data:
        if not is_known:
            raise ValueError(
                f"the bag does not define {name} of {connection.topic}; source a workspace with "
                f"the package {name.partition('/')[0]}"
            )
        return own
    try:
        if definition.format == MessageDefinitionFormat.IDL:
            types = get_types_from_idl(definition.data)
        else:
            types = get_types_from_msg(definition.data, name)
        store = get_typestore(Stores.EMPTY)
        store.register(types)
    except (TypesysError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the bag's definition of {name} on {connection.topic} cannot be read: {reason}; "
            "record the bag again or convert it"
        ) from error
    difference = _find_difference(own, name, store, name, "") if is_known else ""
    if difference:
        raise ValueError(
            f"{connection.topic} holds {name} of another version: {difference}; convert the bag "
            "to the version that this machine has"
        )
    return store


def _find_difference(own: Typestore, ours: str, other: Typestore, theirs: str, path: str) -> str:
    """Describe a field of our type that the other lacks or types differently; "" if none."""
    if theirs not in other.fielddefs:
        return f"{theirs} is not defined"
    fields: dict[str, Any] = dict(other.fielddefs[theirs][1])
    for field, kind in own.fielddefs[ours][1]:
        where = f"{path}{field}"
        if field not in fields:
            return f"{theirs} has no field {field} ({where})"
        (layout, inner), (other_layout, other_inner) = _unfold(kind), _unfold(fields[field])
        if layout != other_layout:
            return f"{theirs} has another kind of field {field} ({where})"
        # An inner type may have moved to another package: its fields decide.
        found = inner and _find_difference(own, inner, other, other_inner, f"{where}.")
        if found:
            return found
    return ""


def _unfold(kind: Any) -> tuple[Any, str]:
    """Return the layout of a field without the name of the message inside, and that name or ""."""
    node, details = kind
    if node == Nodetype.NAME:
        return node, details
    if node == Nodetype.BASE:
        return (node, details[0]), ""
    element, length = details
    inner_layout, inner = _unfold(element)
    return (node, inner_layout, length if node == Nodetype.ARRAY else 0), inner


def make_message(store: Typestore, name: str) -> Any:
    """Make a message whose fields are zero, empty or messages of that kind.

    Args:
        name: Such as `sensor_msgs/msg/Image`.
    """
    fields = {field: _make_value(store, kind) for field, kind in store.fielddefs[name][1]}
    return store.types[name](**fields)


def make_storable(store: Typestore, message: Any) -> Any:
    """Turn sequences of numbers inside a message into the arrays that serialising needs.

    Args:
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


def definition_arguments(connection: Any, own: Typestore) -> dict[str, Any]:
    """Return a rosbags writer's arguments for the type of a topic that is copied.

    Args:
        connection: A connection of a rosbags reader.
        own: The types of this machine; for bags of older distributions, which bring none.
    """
    definition = connection.msgdef.data
    if not definition and connection.msgtype in own.types:
        return {"typestore": own}
    # An unknown type is copied too: its bytes need no definition.
    return {"msgdef": definition, "rihs01": connection.digest or UNKNOWN_HASH}


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
