"""Why boxes do not find their images, from the stamps that have come."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from sameo_ros.core.input_watch import Arrival, InputWatch
from sameo_ros.core.settings import SameoParameters

PAIRING_KINDS = ("image_stamps", "images_lost", "detector_stamps")
_MEMORY_S = 10.0
_MIN_BOXES, _MAX_BOXES = 3, 20
_MIN_IMAGES = 3
_MIN_SHARE = 0.2
_LOST_SHARE = 0.3
_OWN_CLOCK_S = 1.0
_ROUNDED_S = 0.001


def explain_pairing(
    watch: InputWatch, settings: SameoParameters, now_s: float, *, image_topic: str, transport: str
) -> dict[str, str]:
    """Say why boxes do not find their images, and what to do about it.

    Boxes without any images, or of which only some find an image, tell of images that were lost on
    the way, or of a detector that sends more messages than it gets images. Where images come but no
    boxes fit, the stamps are the detector's own, or those of the images stand still.

    Args:
        settings: `max_wait_s` and `stamp_tolerance_s` count.
        now_s: Monotonic clock.
        image_topic: Full name of the images' topic.
        transport: How DDS is set up here, for the remedy.

    Returns:
        Sentences by kind of problem, one of `PAIRING_KINDS`; empty if boxes find their images.
    """
    recent = [one for one in watch.recent_boxes if now_s - one.received_s < _MEMORY_S]
    newest = recent[-_MAX_BOXES:]
    zero = [one for one in newest if one.stamp_ns == 0]
    latest = watch.latest_image
    if len(zero) >= _MIN_BOXES and len(zero) == len(newest) and (not latest or latest.stamp_ns):
        return {"detector_stamps": _explain_zero_stamps(len(zero))}
    waited_s = now_s - settings.max_wait_s
    settled = [
        one
        for one in recent
        if one.stamp_ns
        and one.received_s <= waited_s
        and not watch.is_before_first_image(one.stamp_ns, _MEMORY_S)  # sent before anyone listened
    ][-_MAX_BOXES:]
    lonely = [one for one in settled if not _has_image(watch, one, settings)]
    if len(lonely) < max(_MIN_BOXES, _MIN_SHARE * len(settled)):
        return {}
    if latest and watch.num_same >= _MIN_IMAGES:
        return {"image_stamps": _explain_same_stamps(latest.stamp_ns, watch.num_same)}
    since_s = settled[0].received_s - settings.max_wait_s
    num_images = watch.images.count(since_s, settled[-1].received_s)
    if len(lonely) < len(settled) or num_images < _LOST_SHARE * len(settled):
        counted = (
            f"of {len(settled)} detection messages within {waited_s - since_s:.1f} s, "
            f"{len(settled) - len(lonely)} found their image, and {num_images} images came"
        )
        sentence = _explain_loss(counted, image_topic, transport)
        if num_images and watch.has_regular_images():
            sentence = f"the detector sends several messages for each image, or {sentence}"
        return {"images_lost": sentence}
    return {"detector_stamps": _explain_own_stamps(watch, lonely, settings)}


def _has_image(watch: InputWatch, boxes: Arrival, settings: SameoParameters) -> bool:
    if watch.find_image(boxes.stamp_ns) is not None:
        return True
    offset_s = watch.nearest_offset_s(boxes.stamp_ns)
    return offset_s is not None and 0 < settings.stamp_tolerance_s >= abs(offset_s)


def _explain_zero_stamps(number: int) -> str:
    return (
        f"the detector leaves header.stamp at zero (the last {number} messages), so no image "
        "can be found; let it copy the header of its image"
    )


def _explain_same_stamps(stamp_ns: int, number: int) -> str:
    stamp = "zero" if stamp_ns == 0 else f"{stamp_ns} ns"
    return (
        f"the stamps of images stay at {stamp} (the last {number} images) and those of boxes "
        "differ, so no image can be found; let the camera driver fill header.stamp"
    )


def _explain_loss(counted: str, image_topic: str, transport: str) -> str:
    return (
        f"images are lost in transport to this node: {counted}; {transport}; or ask for them "
        f"reliably: reliability:=reliable of the launch file, or "
        f"-p qos_overrides.{image_topic}.subscription.reliability:=reliable"
    )


def _explain_own_stamps(
    watch: InputWatch, lonely: Sequence[Arrival], settings: SameoParameters
) -> str:
    offset_s = _median_offset_s(watch, lonely) or 0.0
    sentence = f"images come, but the stamps of the last {len(lonely)} detection messages are "
    if abs(offset_s) > _OWN_CLOCK_S:
        return (
            f"{sentence}{format_duration(abs(offset_s))} "
            f"{'ahead of' if offset_s > 0 else 'behind'} the nearest image, so the detector "
            "has a clock of its own; let it copy the header of its image"
        )
    distance = f"about {format_duration(abs(offset_s))} from the nearest image"
    if abs(offset_s) < _ROUNDED_S:
        return (
            f"{sentence}{distance}: they were rounded on the way; let the detector copy the header "
            f"of its image, or set stamp_tolerance_s to {_ROUNDED_S:g}"
        )
    return (
        f"{sentence}{distance}, so the detector sets new stamps; let it copy the header of its "
        f"image, or set stamp_tolerance_s (now {settings.stamp_tolerance_s:g})"
    )


def explain_no_pair(watch: InputWatch, image_topic: str, detections_topic: str) -> str:
    """Say how far off the stamps are where no boxes at all found their image."""
    sentence = f"none of the {watch.boxes.number} messages on {detections_topic} has the stamp of"
    offset_s = _median_offset_s(watch, watch.recent_boxes)
    if offset_s is None:
        return f"{sentence} an image: {image_topic} has none"
    return (
        f"{sentence} an image on {image_topic}: the nearest is {format_duration(abs(offset_s))} "
        f"{'before' if offset_s > 0 else 'after'} theirs; let the detector copy the header of its "
        "image"
    )


def _median_offset_s(watch: InputWatch, boxes: Iterable[Arrival]) -> float | None:
    """Return the stamps of boxes minus those of the nearest images, seconds; None without any."""
    offsets_s = [watch.nearest_offset_s(one.stamp_ns) for one in boxes]
    known_s = [one for one in offsets_s if one is not None]
    return statistics.median(known_s) if known_s else None


def format_duration(duration_s: float) -> str:
    """Return a time with the unit that suits it."""
    for unit, length_s in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if duration_s >= 2 * length_s:
            return f"{duration_s / length_s:.0f} {unit}"
    if duration_s < 0.1:
        return f"{1e3 * duration_s:.3g} ms"
    return f"{duration_s:.1f} s"
