"""What the bytes of an image say before they are decoded: format, completeness, orientation."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

Content = bytes | memoryview
"""The content of a file; a memoryview is not copied."""

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (8, b"WEBP", "WebP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"GIF8", "GIF"),
    (0, b"%PDF", "PDF"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftypavif", "AVIF"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
)
# Tags of TIFF 6.0, and two values of the second.
_ORIENTATION_TAG, _EXTRA_SAMPLES_TAG = 0x0112, 0x0152
_MULTIPLIED_ALPHA, _SEPARATE_ALPHA = 1, 2
_EXIF_HEADER = b"Exif\0\0"
# JPEG markers, JPEG standard (ITU-T T.81), table B.1.
_START_OF_SCAN, _END_OF_IMAGE, _START_OF_IMAGE, _APP1 = 0xDA, 0xD9, 0xD8, 0xE1
# In the data of a scan 0xff is followed by 0 or a restart marker, unless a segment begins there.
_NEXT_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
# Boxes of AVIF that turn (quarters, anticlockwise) and then mirror (0: top and bottom change
# places, 1: left and right); viewers follow them, and not the EXIF block beside them.
_TURN = re.compile(rb"\0\0\0\x09irot([\0-\x03])", re.DOTALL)
_MIRROR = re.compile(rb"\0\0\0\x09imir([\0\x01])", re.DOTALL)
_ORIENTATIONS = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


def image_format(content: Content) -> str:
    """Return the name of the format that the first bytes show; "" for one that is not known."""
    for start, signature, name in _SIGNATURES:
        if content[start : start + len(signature)] == signature:
            return name
    return ""


def is_cut_off(content: Content) -> bool:
    """Return whether the end of a JPEG, PNG or WebP is missing; False for other formats.

    Decoders of OpenCV 4 fill what is missing with grey and say nothing.
    """
    name, content = image_format(content), memoryview(content)
    if name == "JPEG":
        return all(marker != _END_OF_IMAGE for marker, _ in _jpeg_segments(content))
    if name == "PNG":
        return all(kind != b"IEND" for kind, _ in _png_chunks(content))
    if name == "WebP":
        return len(content) < 8 + int.from_bytes(content[4:8], "little")
    return False


def read_orientation(content: Content) -> int:
    """Return the EXIF orientation of a JPEG, PNG, WebP, TIFF or AVIF.

    Returns:
        1 to 8 as EXIF numbers them: how the stored rows and columns have to be turned or mirrored
        to be upright. 1 (nothing to do) also where there is no tag, or one that is no such number.
    """
    if content[4:8] == b"ftyp":
        turn, mirror = _TURN.search(content), _MIRROR.search(content)
        return _ORIENTATIONS[mirror and mirror[1][0]][turn[1][0] if turn else 0]
    try:
        orientation = _orientation_of_tiff(_find_exif(memoryview(content)))
    except struct.error:  # the tag points out of the file
        return 1
    return orientation if 1 <= orientation <= 8 else 1


def keep_colours(content: Content) -> Content:
    """Return a TIFF whose colours decoders do not multiply by its alpha; anything else as it is.

    OpenCV drops the alpha of other formats, but libtiff multiplies first.
    """
    if image_format(content) != "TIFF":
        return content
    try:
        found = _find_entry(content, _EXTRA_SAMPLES_TAG)
        if found is None:
            return content
        form, start, count = found
        if count != 1 or struct.unpack_from(form, content, start) != (_SEPARATE_ALPHA,):
            return content
    except struct.error:  # damaged, as the decoder will say
        return content
    changed = bytearray(content)
    struct.pack_into(form, changed, start, _MULTIPLIED_ALPHA)
    return memoryview(changed)


def _find_exif(content: Content) -> Content:
    """Return the EXIF block, which has the form of a TIFF file; empty if there is none."""
    name = image_format(content)
    if name == "TIFF":
        return content
    if name == "JPEG":
        for marker, payload in _jpeg_segments(content):
            if marker == _APP1 and payload[: len(_EXIF_HEADER)] == _EXIF_HEADER:
                return payload[len(_EXIF_HEADER) :]
            if marker == _START_OF_SCAN:
                break
    if name == "PNG":
        return next((data for kind, data in _png_chunks(content) if kind == b"eXIf"), b"")
    if name == "WebP":
        for kind, data in _riff_chunks(content):
            if kind == b"EXIF":
                has_header = data[: len(_EXIF_HEADER)] == _EXIF_HEADER
                return data[len(_EXIF_HEADER) :] if has_header else data
    return b""


def _orientation_of_tiff(tiff: Content) -> int:
    found = _find_entry(tiff, _ORIENTATION_TAG)
    return 1 if found is None else int(struct.unpack_from(found[0], tiff, found[1])[0])


def _find_entry(tiff: Content, wanted: int) -> tuple[str, int, int] | None:
    """Return how a tag's value is packed, where, and how many there are; None without the tag."""
    order = {b"II": "<", b"MM": ">"}.get(bytes(tiff[:2]))
    if order is None:
        return None
    (directory,) = struct.unpack_from(f"{order}I", tiff, 4)
    (num_entries,) = struct.unpack_from(f"{order}H", tiff, directory)
    for entry in range(num_entries):
        start = directory + 2 + 12 * entry
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, start)
        if tag == wanted:
            return f"{order}{'I' if kind == 4 else 'H'}", start + 8, count
    return None


def _jpeg_segments(content: Content) -> Iterator[tuple[int, Content]]:
    """Yield marker and payload of the segments as far as the file goes, its end included."""
    position = 2
    while (found := _NEXT_MARKER.search(content, position)) is not None:
        marker, start = content[found.start() + 1], found.end()
        if marker in (_END_OF_IMAGE, _START_OF_IMAGE):
            yield marker, b""
            return
        position = start + int.from_bytes(content[start : start + 2], "big")
        yield marker, content[start + 2 : position]


def _png_chunks(content: Content) -> Iterator[tuple[bytes, Content]]:
    """Yield type and data of the chunks that are there as a whole."""
    start = 8
    while start + 12 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if end > len(content):
            return
        yield bytes(content[start + 4 : start + 8]), content[start + 8 : end - 4]
        start = end


def _riff_chunks(content: Content) -> Iterator[tuple[bytes, Content]]:
    """Yield type and data of a WebP's chunks."""
    start = 12
    while start + 8 <= len(content):
        size = int.from_bytes(content[start + 4 : start + 8], "little")
        yield bytes(content[start : start + 4]), content[start + 8 : start + 8 + size]
        start += 8 + size + size % 2
