"""TensorRT and TensorRT for RTX behind one name: what is installed, and where they differ."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import re
from dataclasses import dataclass
from typing import Any

from sameo_model.runtime.backends.base import BackendUnavailableError

_LOGGER = logging.getLogger(__name__)

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Python module of each flavour, in the order in which they are tried."""
MIN_VERSIONS = {"tensorrt": (10, 3), "tensorrt-rtx": (1, 1)}
OUT_OF_MEMORY = ("out of memory", "outOfMemory", "OutOfMemory")
"""How TensorRT's messages say that memory was too little."""
INSTALL_HINTS = {
    "tensorrt": "install TensorRT 10.3 or later (part of JetPack), or run 'pip install tensorrt'",
    "tensorrt-rtx": "run 'pip install tensorrt-rtx-cu13' (or -cu12)",
}


@dataclass(frozen=True)
class Flavour:
    """One installed TensorRT.

    Attributes:
        name: `tensorrt` or `tensorrt-rtx`.
        version: Full version, such as `10.3.0`.
        api: The imported Python module.
    """

    name: str
    version: str
    api: Any

    @property
    def can_target_other_gpus(self) -> bool:
        """Whether engines can be built for a named compute capability, even without a GPU."""
        return hasattr(self.api, "ComputeCapability")

    @property
    def has_timing_cache(self) -> bool:
        """Whether a timing cache shortens later builds; TensorRT for RTX measures nothing."""
        return self.name == "tensorrt"

    @property
    def target_names(self) -> list[str]:
        """Names of the compute capabilities that can be asked for, such as `SM86`."""
        names = dir(getattr(self.api, "ComputeCapability", None))
        return sorted((n for n in names if re.fullmatch(r"SM\d+", n)), key=lambda n: int(n[2:]))

    def __str__(self) -> str:
        """Return name and version, for logs and messages."""
        return f"{self.name} {self.version}"


def load_flavour(name: str | None = None) -> Flavour:
    """Import a TensorRT.

    Args:
        name: `tensorrt` or `tensorrt-rtx`; None takes the first that is installed.

    Raises:
        ValueError: If the name is unknown.
        BackendUnavailableError: If it is not installed, or is too old.
    """
    if name is not None and name not in MODULES:
        raise ValueError(f"TensorRT flavour must be one of {', '.join(MODULES)}; got '{name}'")
    reasons = []
    for candidate in MODULES if name is None else (name,):
        found = _import_flavour(candidate)
        if isinstance(found, Flavour):
            return found
        reasons.append(found)
    raise BackendUnavailableError("; ".join(reasons))


def _import_flavour(name: str) -> Flavour | str:
    """Return the flavour, or the reason why it cannot be used."""
    module = MODULES[name]
    missing = f"the Python package {module} is missing; {INSTALL_HINTS[name]}"
    if importlib.util.find_spec(module) is None:
        return missing
    try:
        api = importlib.import_module(module)
    except (ImportError, OSError) as error:
        return f"the Python package {module} cannot be loaded ({error}); {INSTALL_HINTS[name]}"
    # Type stubs install a folder of the same name that holds no code.
    if not hasattr(api, "Builder"):
        return missing
    version = str(api.__version__)
    if version_tuple(version) < MIN_VERSIONS[name]:
        needed = ".".join(map(str, MIN_VERSIONS[name]))
        return f"{module} must have version {needed} or later, is {version}; {INSTALL_HINTS[name]}"
    return Flavour(name, version, api)


def version_tuple(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, `10.3.0.post1` as (10, 3, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


class ErrorLog:
    """TensorRT's messages about a failure: its Python calls return None and log the cause.

    Attributes:
        errors: Messages of severity error or worse, oldest first.
        native: The object to hand to TensorRT; keep it as long as what was made with it.
    """

    def __init__(self, flavour: Flavour) -> None:
        """Make a logger of the flavour's own class."""
        self.errors: list[str] = []
        errors, api = self.errors, flavour.api

        class Forward(api.ILogger):  # type: ignore[name-defined,misc]
            def log(self, severity: Any, message: str) -> None:
                if severity in (api.ILogger.INTERNAL_ERROR, api.ILogger.ERROR):
                    errors.append(message)
                    _LOGGER.debug("%s", message)
                elif severity == api.ILogger.WARNING:
                    _LOGGER.debug("%s", message)

        self.native = Forward()

    def summary(self) -> str:
        """Return the first lines of the errors as one sentence part."""
        lines = [error.splitlines()[0].strip() for error in self.errors if error.strip()]
        return "; ".join(dict.fromkeys(lines[:3])) or "it gave no reason"
