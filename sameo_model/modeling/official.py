"""Fetch the official EfficientSAM weights and prove that they are the published files.

The repository yformer/EfficientSAM keeps its weights as ordinary files, so that git's blob id,
the SHA-1 of ``blob <size>`` plus a zero byte plus the content, identifies each of them exactly.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOURCE = "https://github.com/yformer/EfficientSAM/raw/main/weights"
DOWNLOAD_FOLDER = Path("checkpoints")
BLOCK_BYTES = 1 << 18
TIMEOUT_S = 30.0

Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class OfficialFile:
    """A published file.

    Attributes:
        file_name: Its name at the source, and here.
        blob_id: Git's id of its content, hexadecimal.
    """

    file_name: str
    blob_id: str

    @property
    def is_archive(self) -> bool:
        """Whether the checkpoint lies inside a zip file."""
        return self.file_name.endswith(".zip")


OFFICIAL = {
    "efficient_sam_vitt": OfficialFile(
        "efficient_sam_vitt.pt", "af883c49e33c68f01107be52df0ecad26a48355f"
    ),
    "efficient_sam_vits": OfficialFile(
        "efficient_sam_vits.pt.zip", "fa4e9f05f753e109dbde052f97d37903b833cf53"
    ),
}


class DownloadError(RuntimeError):
    """A file could not be fetched; the message says what to do."""


def checkpoint_path(name: str, folder: Path = DOWNLOAD_FOLDER) -> Path:
    """Return where the checkpoint of an official name lies once it is fetched."""
    return folder / f"{name}.pt"


def fetch_official(
    name: str,
    folder: Path = DOWNLOAD_FOLDER,
    *,
    source: str = SOURCE,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Download, verify and unpack official weights; what is already there is used.

    An interrupted download is resumed. A published file that the user put into ``folder`` is
    verified and unpacked without a network.

    Args:
        name: ``efficient_sam_vitt`` or ``efficient_sam_vits``.
        folder: Where the files go; made if need be.
        source: Address of the folder that holds the published files.
        progress: Called with the bytes that are there and the bytes in all, None if unknown.

    Returns:
        Path of the checkpoint, for `load_checkpoint`.

    Raises:
        ValueError: The name is not an official one, or what came is not the published file.
        DownloadError: The source cannot be reached or the connection broke.
    """
    if name not in OFFICIAL:
        raise ValueError(f"official name must be one of {', '.join(OFFICIAL)}, got {name!r}")
    official = OFFICIAL[name]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / official.file_name
    if not path.exists():
        partial = folder / f"{official.file_name}.part"
        _download(f"{source}/{official.file_name}", partial, path, progress)
        if git_blob_id(partial) != official.blob_id:
            partial.unlink()
            raise ValueError(
                f"what {source} sent for {official.file_name} is not the published file and was "
                "deleted; run the command again, or take another source"
            )
        os.replace(partial, path)
    elif git_blob_id(path) != official.blob_id:
        raise ValueError(
            f"{path} is not the published file, whose git blob id is {official.blob_id[:12]}...; "
            "delete it and run the command again"
        )
    checkpoint = checkpoint_path(name, folder)
    if official.is_archive:
        _unpack(path, checkpoint)
    return checkpoint


def git_blob_id(path: Path) -> str:
    """Return git's id of a file's content, hexadecimal."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, partial: Path, target: Path, progress: Progress) -> None:
    """Fetch into ``partial``, going on where it ends."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            # A source that does not resume answers 200 with the whole file.
            resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT
            _receive(response, partial, have if resumes else 0, progress)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # Everything is there already; the verification decides.
        raise DownloadError(
            f"{url} answered {error.code} {error.reason}; download {target.name} by hand from the "
            f"EfficientSAM repository, put it at {target} and run the command again"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if partial.exists() and partial.stat().st_size > have:
            raise DownloadError(
                f"the connection to {url} broke ({error}); run the command again to resume"
            ) from error
        raise DownloadError(
            f"{url} cannot be reached ({getattr(error, 'reason', error)}); if this machine is "
            f"offline, download the file elsewhere, put it at {target} and run the command again"
        ) from error


def _receive(
    response: http.client.HTTPResponse, partial: Path, have: int, progress: Progress
) -> None:
    length = response.headers.get("Content-Length")
    total = have + int(length) if length else None
    progress(have, total)
    with partial.open("ab" if have else "wb") as file:
        while block := response.read(BLOCK_BYTES):
            file.write(block)
            have += len(block)
            progress(have, total)
    if total is not None and have < total:
        raise http.client.IncompleteRead(b"", total - have)


def _unpack(archive: Path, checkpoint: Path) -> None:
    """Take the checkpoint out of a zip file unless the same one is there already."""
    with zipfile.ZipFile(archive) as content:
        member = next(info for info in content.infolist() if info.filename.endswith(".pt"))
        if checkpoint.exists() and _crc32(checkpoint) == member.CRC:
            return
        temporary = checkpoint.with_name(f".{checkpoint.name}.tmp")
        try:
            with content.open(member) as source, temporary.open("wb") as target:
                while block := source.read(BLOCK_BYTES):
                    target.write(block)
            os.replace(temporary, checkpoint)
        finally:
            temporary.unlink(missing_ok=True)


def _crc32(path: Path) -> int:
    value = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            value = zlib.crc32(block, value)
    return value
