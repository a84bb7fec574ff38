"""Names by which the outputs for one image can be joined."""

from __future__ import annotations

from collections.abc import Sequence


def make_unique_ids(ids: Sequence[str]) -> list[str]:
    """Make the ids of the detections of one image unique.

    Args:
        ids: N ids as the detector gave them, "" where it gave none; equal ones may come.

    Returns:
        N different names, none empty: the detector's id where it is the first with that id; for
        later ones `<id>#<index>`; without an id the index as text. A name that is taken already
        gets another `#<index>` behind it.
    """
    taken = {name for name in ids if name}
    seen: set[str] = set()
    names = []
    for index, name in enumerate(ids):
        if name and name not in seen:
            seen.add(name)
            names.append(name)
            continue
        unique = f"{name}#{index}" if name else str(index)
        while unique in taken:
            unique = f"{unique}#{index}"
        taken.add(unique)
        names.append(unique)
    return names
