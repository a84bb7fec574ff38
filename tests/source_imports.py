"""What the project's source files import, read without running them."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

PROJECT_ROOT = Path(__file__).resolve().parents[1]


def source_files() -> list[Path]:
    """Every Python file of `sameo_model` and `sameo_ros`, sorted."""
    return sorted(
        path
        for package in ("sameo_model", "sameo_ros")
        for path in (PROJECT_ROOT / package).rglob("*.py")
    )


def module_name(path: Path) -> str:
    """The full name under which a source file is imported."""
    parts = path.relative_to(PROJECT_ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def imported_modules(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, at its top or inside a function, by full name.

    `from a import b` gives `a.b`: b may be a module.
    """
    return tuple(_walk_imports(path))


def _walk_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = _absolute(path, node.level, base)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _absolute(path: Path, level: int, base: str) -> str:
    package = module_name(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    kept = package[: len(package) - level + 1]
    return ".".join([*kept, base] if base else kept)
