"""Ctrl-C while training: the current step is finished and saved before the run stops."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

log = logging.getLogger(__name__)


class Interruption:
    """Whether the user asked to stop."""

    def __init__(self) -> None:
        self.is_asked = False

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.is_asked:
            raise KeyboardInterrupt
        self.is_asked = True
        log.warning("stopping after this step; Ctrl-C once more stops at once, without saving")


@contextmanager
def deferred_interrupt(is_deferred: bool) -> Iterator[Interruption]:
    """Let the first Ctrl-C inside the block only be noted, and the second one interrupt.

    Args:
        is_deferred: False leaves Ctrl-C as it is, for runs of several processes: one that went on
            alone would wait for the others for ever. Outside the main thread it is always left.
    """
    interruption = Interruption()
    if not is_deferred or threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = signal.signal(signal.SIGINT, interruption._ask)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
