"""The node's parameters: declared from its settings, and shown as a table."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable
from typing import Any

from sameo_ros.core.settings import SameoParameters, check_value, convert_value


def declare_parameters(node: Any) -> SameoParameters:
    """Declare every parameter on a node and return the values that it was started with.

    Raises:
        ValueError: If a value is none of its choices. What concerns the model is checked when it
            is loaded, so that a node with a wrong one stays alive and reports it.
    """
    # Messages, not rclpy: they are imported here so that the values can be used without ROS.
    from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

    values: dict[str, Any] = {}
    for one in dataclasses.fields(SameoParameters):
        descriptor = ParameterDescriptor(
            description=one.metadata["description"],
            additional_constraints=_constraint(one),
            read_only=one.metadata["read_only"],
            # YAML reads a bare on or off as a truth value, a bare 2 as a whole number, and a single
            # name as no list.
            dynamic_typing=isinstance(one.default, (str, float, tuple)),
        )
        limits = one.metadata["limits"]
        if limits is not None and isinstance(one.default, int):
            limits_int = IntegerRange(from_value=int(limits[0]), to_value=int(limits[1]))
            descriptor.integer_range = [limits_int]
        elif limits is not None:
            limits_float = FloatingPointRange(
                from_value=float(limits[0]), to_value=float(limits[1])
            )
            descriptor.floating_point_range = [limits_float]
        default: Any = one.default
        default = list(default) if isinstance(default, tuple) else default
        value = convert_value(one, node.declare_parameter(one.name, default, descriptor).value)
        values[one.name] = value if one.metadata["with_model"] else check_value(one, value)
    return SameoParameters(**values)


def describe_undeclared(node: Any, *, of_topics: bool, unread: Iterable[str] = ()) -> str:
    """Name the parameters that a node was started with and that nobody declared; "" if none.

    Args:
        of_topics: Whether to look at `qos_overrides.` alone, or at all others. The former are
            declared when their topics are opened.
        unread: Full names of topics that the launch file names although the node reads none.
    """
    given, known = node._parameter_overrides, list(node.get_parameters_by_prefix(""))
    # The launch file names both transports of an image, of which one exists.
    used = {_without_transport(name) for name in given if name in known}
    used |= {f"qos_overrides.{topic}.subscription.reliability" for topic in unread}
    named = []
    for name in sorted(given):
        is_used = name in known or _without_transport(name) in used
        if not is_used and name.startswith("qos_overrides.") == of_topics:
            nearest = difflib.get_close_matches(name, known, n=1)
            named.append(f"{name} (did you mean {nearest[0]}?)" if nearest else name)
    return f"parameters that do not exist are ignored: {', '.join(named)}" if named else ""


def _without_transport(name: str) -> str:
    return name.replace("/compressed.subscription.", ".subscription.")


def parameter_table() -> str:
    """Return all parameters as a Markdown table, as docs/node.md shows it."""
    lines = ["| parameter | default (range) | meaning |", "| --- | --- | --- |"]
    lines += [
        f"| `{one.name}` | {_default(one)}{f' ({_range(one)})' if _range(one) else ''} | "
        f"{one.metadata['description']}{_when(one)} |"
        for one in dataclasses.fields(SameoParameters)
    ]
    return "\n".join(lines) + "\n"


def describe_parameter(one: dataclasses.Field[Any]) -> str:
    """Return what a parameter means, its default and its range, in sentences."""
    allowed = _range(one)
    limits = f" Range: {allowed}." if one.metadata["limits"] else f" One of: {allowed}."
    default = f" Default: {_default(one)}."
    return f"{one.metadata['description']}{default}{limits if allowed else ''}{_when(one)}"


def _default(one: dataclasses.Field[Any]) -> str:
    if isinstance(one.default, bool):
        return str(one.default).lower()
    return '[""]' if one.default == ("",) else str(one.default) or "(empty)"


def _constraint(one: dataclasses.Field[Any]) -> str:
    choices: Iterable[str] = one.metadata["choices"] or ()
    return ", ".join(choice or '""' for choice in choices)


def _range(one: dataclasses.Field[Any]) -> str:
    limits = one.metadata["limits"]
    if limits is not None:
        return f"{limits[0]} to {limits[1]}"
    return _constraint(one)


def _when(one: dataclasses.Field[Any]) -> str:
    if one.metadata["read_only"]:
        return " Read-only."
    return " Change it while inactive." if one.metadata["with_model"] else ""
