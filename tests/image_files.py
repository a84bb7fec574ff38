"""Image files with what encoders of OpenCV do not write: orientation tags."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np

TAGGED_FORMATS = ("jpg", "png", "webp", "tif")


def exif_block(orientation: int, order: str = "<") -> bytes:
    """A TIFF header and one entry: tag 0x0112 (orientation), type SHORT, count 1."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def tagged(suffix: str, image_rgb: np.ndarray, orientation: int, order: str = "<") -> bytes:
    """Encode stored pixels with an orientation tag; lossless but for jpg."""
    if suffix == "tif":
        return _tiff(image_rgb, orientation)
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == "webp" else []
    plain = cv2.imencode(f".{suffix}", image_rgb[..., ::-1], options)[1].tobytes()
    block = exif_block(orientation, order)
    if suffix == "jpg":
        segment = b"Exif\0\0" + block
        return plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    if suffix == "png":
        return plain[:-12] + png_chunk(b"eXIf", block) + plain[-12:]
    chunks = plain[12:] + b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its length and check sum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _tiff(image_rgb: np.ndarray, orientation: int) -> bytes:
    """One uncompressed strip behind ten entries of type LONG."""
    height, width = image_rgb.shape[:2]
    start = 8 + 2 + 10 * 12 + 4
    entries = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: start}
    entries |= {274: orientation, 277: 3, 278: height, 279: image_rgb.size}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    head = b"II*\0" + struct.pack("<IH", 8, 10)
    return head + directory + bytes(4) + image_rgb.tobytes()
