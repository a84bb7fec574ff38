"""How far the build of an engine is: TensorRT's nested phases as one rising number."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorrt as trt

_LOGGER = logging.getLogger(__name__)

REPORT_PERIOD_S = 1.0

Report = Callable[[float, str, float], None]
"""Called with the fraction done in [0, 1], the phase's name and the seconds since the start."""


@dataclass
class _Phase:
    name: str
    num_steps: int
    num_done: int = 0
    children: list[_Phase] = field(default_factory=list)

    @property
    def fraction(self) -> float:
        inner = sum(child.fraction for child in self.children[-1:])
        return min((self.num_done + inner) / max(self.num_steps, 1), 1.0)


class BuildProgress:
    """Turns TensorRT's nested phases into one rising number.

    Attributes:
        interrupted: Whether the user pressed Ctrl-C; the build then stops at its next step.
    """

    def __init__(self, name: str, report: Report, period_s: float = REPORT_PERIOD_S) -> None:
        """Start the clock.

        Args:
            name: Name of the graph.
            report: Told how far the build is.
            period_s: Least time between two reports, seconds.
        """
        self.name = name
        self.interrupted = False
        self._report, self._period_s = report, period_s
        self._started = time.monotonic()
        self._reported = -period_s
        self._roots: list[_Phase] = []
        self._open: dict[str, _Phase] = {}
        self._reached = 0.0

    def start(self, name: str, parent: str | None, num_steps: int) -> None:
        """Note that a phase begins within its parent, or on its own."""
        phase = _Phase(name, num_steps)
        siblings = self._roots if parent not in self._open else self._open[parent].children
        siblings.append(phase)
        self._open[name] = phase
        self._tell(name)

    def step(self, name: str, index: int) -> None:
        """Note that a step is done."""
        phase = self._open.get(name)
        if phase is not None:
            phase.num_done = index + 1
            phase.children.clear()
        self._tell(name)

    def finish(self, name: str) -> None:
        """Note that a phase is over."""
        phase = self._open.pop(name, None)
        if phase is not None:
            phase.num_done = phase.num_steps
        self._tell(name)

    def _tell(self, phase: str) -> None:
        elapsed_s = time.monotonic() - self._started
        if elapsed_s - self._reported < self._period_s:
            return
        self._reported = elapsed_s
        done = sum(root.fraction for root in self._roots) / max(len(self._roots), 1)
        # A second root phase must not take back what was shown.
        self._reached = max(self._reached, done)
        self._report(self._reached, phase, elapsed_s)


def make_monitor(api: Any, progress: BuildProgress) -> trt.IProgressMonitor:
    """Wrap the progress for TensorRT; no exception may pass through its C++ code."""

    class Monitor(api.IProgressMonitor):  # type: ignore[name-defined,misc]
        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._guard(progress.start, phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._guard(progress.step, phase_name, step)
            return not progress.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._guard(progress.finish, phase_name)

        def _guard(self, act: Callable[..., Any], *arguments: Any) -> None:
            try:
                act(*arguments)
            except KeyboardInterrupt:
                progress.interrupted = True

    return Monitor()  # type: ignore[no-any-return]


def log_report(name: str) -> Report:
    """Return a report that logs a build's progress every ten seconds."""
    last = [-10.0]

    def report(fraction: float, phase: str, elapsed_s: float) -> None:
        if elapsed_s - last[0] >= 10.0:
            last[0] = elapsed_s
            _LOGGER.info(
                "building %s: %.0f %% after %.0f s (%s)", name, 100 * fraction, elapsed_s, phase
            )

    return report
