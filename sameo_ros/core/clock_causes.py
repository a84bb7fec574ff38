"""Whether the node's clock and the stamps of images belong together."""

from __future__ import annotations

from sameo_ros.core.pairing_causes import format_duration

_MAX_TRANSIT_S = 5.0
_MAX_AHEAD_S = 0.5


def is_plausible(transit_s: float, stamp_ns: int) -> bool:
    """Whether an image's age can be told.

    Args:
        transit_s: The node's clock when the image came minus its stamp, seconds.
        stamp_ns: Its stamp, nanoseconds.
    """
    return stamp_ns != 0 and -_MAX_AHEAD_S <= transit_s <= _MAX_TRANSIT_S


def explain_clock(
    transit_s: float | None, stamp_ns: int, now_ns: int, *, use_sim_time: bool
) -> str:
    """Explain a fault of clock or stamps and its remedy; "" if there is none.

    Args:
        transit_s: The node's clock when the latest image came minus its stamp, seconds; None
            before the first image.
        stamp_ns: Stamp of the latest image, nanoseconds.
        now_ns: The node's clock, nanoseconds.
    """
    if use_sim_time and now_ns == 0:
        return (
            "use_sim_time is set, but no /clock has come: start the simulator, play the bag with "
            "--clock, or set use_sim_time:=false; until then ages are unknown"
        )
    if transit_s is None or is_plausible(transit_s, stamp_ns):
        return ""
    if stamp_ns == 0:
        return (
            "image stamps are zero: only boxes of stamp zero find an image, the newest, and ages "
            "are unknown; let the camera driver fill header.stamp"
        )
    side = "behind" if transit_s > 0 else "ahead of"
    remedy = (
        "the clock of /clock is not that of the camera"
        if use_sim_time
        else "for a bag or a simulation set use_sim_time:=true (ros2 bag play --clock), else "
        "synchronise the clocks of both machines"
    )
    return (
        f"image stamps are {format_duration(abs(transit_s))} {side} the node's clock, so "
        f"ages are unknown: {remedy}"
    )
