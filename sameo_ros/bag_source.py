"""Which file or folder is a bag, and what it is if it is none, without ROS."""

from __future__ import annotations

from pathlib import Path

STORAGE_SUFFIXES = (".mcap", ".db3")
_ROS1_MAGIC = b"#ROSBAG V"
_MCAP_MAGIC = b"\x89MCAP0\r\n"


def check_source(path: Path) -> None:
    """Raise a clear error unless a path can be opened as a bag of ROS 2.

    Args:
        path: Folder of a rosbag2, or one of its files alone (.mcap, .db3).

    Raises:
        FileNotFoundError: If there is nothing, or a folder without metadata.yaml.
        ValueError: If the file is something else; the message says what.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give the folder or the file of a bag")
    if path.is_dir():
        _check_folder(path)
        return
    start = _read_start(path)
    if start.startswith(_ROS1_MAGIC) or path.suffix == ".bag":
        raise ValueError(
            f"{path} is a bag of ROS 1; convert it first: rosbags-convert --src {path} --dst FOLDER"
        )
    if path.suffix not in STORAGE_SUFFIXES:
        raise ValueError(
            f"{path} must be the folder of a rosbag2 or a file that ends in "
            f"{' or '.join(STORAGE_SUFFIXES)}; decompress it if it is compressed"
        )
    profile = _mcap_profile(start)
    if profile not in (None, "", "ros2"):
        raise ValueError(
            f"{path} holds messages of {profile!r}, not of ROS 2; convert it to a rosbag2 first"
        )


def _check_folder(path: Path) -> None:
    if (path / "metadata.yaml").is_file():
        return
    files = sorted(one.name for one in path.iterdir() if one.suffix in STORAGE_SUFFIXES)
    remedy = f"give the file {path / files[0]} itself, or run" if len(files) == 1 else "run"
    raise FileNotFoundError(
        f"{path} is not the folder of a rosbag2: it has no metadata.yaml; {remedy} "
        "`ros2 bag reindex` if the recording was interrupted"
    )


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(256)


def _mcap_profile(start: bytes) -> str | None:
    """Return the profile in the header of an MCAP file, None if it is no such file."""
    # magic, opcode 1, length of the record (8 bytes), length of the profile (4 bytes), profile
    if not start.startswith(_MCAP_MAGIC) or start[8:9] != b"\x01":
        return None
    length = int.from_bytes(start[17:21], "little")
    return start[21 : 21 + length].decode("utf-8", "replace")
