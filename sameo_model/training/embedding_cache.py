"""Embeddings of a frozen image encoder on disk, one file per image, up to a size limit."""

from __future__ import annotations

import hashlib
import io
import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sameo_model.modeling.sameo import Sameo
from sameo_model.runtime.files import write_whole

log = logging.getLogger(__name__)


class EmbeddingCache:
    """Finds and keeps embeddings by image file.

    A full cache keeps what it has and takes no more: images come back in random order, so that
    replacing entries would gain nothing.
    """

    def __init__(
        self, folder: str | Path, fingerprint: str, limit_bytes: float, *, num_writers: int = 1
    ) -> None:
        """Open or make a folder.

        Args:
            folder: where the files are; other encoders may have theirs in it.
            limit_bytes: most bytes that the folder may hold.
            num_writers: processes that write at the same time and share what is left.
        """
        root = Path(folder)
        self.folder = root / fingerprint[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        held = sum(path.stat().st_size for path in root.rglob("*.npy"))
        self.remaining_bytes = (limit_bytes - held) / num_writers

    def find_path(self, image_path: Path) -> Path:
        """Return the file that holds an image's embedding; it changes when the image does.

        Raises:
            OSError: If there is no such image.
        """
        found = image_path.stat()
        text = f"{image_path.resolve()} {found.st_size} {found.st_mtime_ns}"
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"

    def read(self, image_path: Path) -> NDArray[np.float16] | None:
        """Return float16 (256, S/16, S/16), or None if it is not kept or damaged.

        Raises:
            OSError: If there is no such image.
        """
        path = self.find_path(image_path)
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None

    def write(self, image_path: Path, embedding: NDArray[np.float16]) -> None:
        """Keep an embedding if it still fits.

        Args:
            embedding: float16 (256, S/16, S/16).
        """
        file = io.BytesIO()
        np.save(file, embedding, allow_pickle=False)
        content = file.getvalue()
        if len(content) > self.remaining_bytes:
            return
        try:
            write_whole(self.find_path(image_path), content)
        except OSError as error:
            log.warning("embeddings are not kept any more: %s cannot grow, %s", self.folder, error)
            self.remaining_bytes = 0.0
            return
        self.remaining_bytes -= len(content)


def fingerprint_encoder(model: Sameo, precision: str) -> str:
    """Return a text that changes with the encoder's weights, the input size and the precision."""
    digest = hashlib.sha256(f"{model.preset} {model.image_size} {precision}".encode())
    for name, value in sorted(model.image_encoder.state_dict().items()):
        # Compiling in place leaves names alone, wrapping does not.
        digest.update(re.sub(r"_orig_mod\.", "", name).encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
