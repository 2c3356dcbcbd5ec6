"""How much memory this process may have: the machine's, or what the cgroup (a container) leaves of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ASSUMED_BYTES = 1 << 30
"""Where the system doesn't tell; RabbitMQ assumes the same."""
CGROUPS = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")
V1_LIMIT, V2_LIMIT = "memory.limit_in_bytes", "memory.max"


def memory_bytes(cgroups: Path = CGROUPS, mount: Path = MOUNT) -> int:
    """Return the memory of the machine or the lowest limit of the process's cgroups (v1 or v2), whichever is less."""
    return min([_physical_bytes(), *_limits(cgroups, mount)])


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, and systems without the name
        return ASSUMED_BYTES


def _limits(cgroups: Path, mount: Path) -> Iterator[int]:
    """The limits of the process's cgroups and of all that they lie in."""
    try:
        lines = cgroups.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = mount, V2_LIMIT
        elif "memory" in controllers.split(","):
            root, name = mount / "memory", V1_LIMIT
        else:
            continue
        # In a container the path may be the host's, and not be there: what is mounted is then the process's own.
        inside = root / path.lstrip("/")
        for folder in (inside, *inside.parents):
            if folder.is_relative_to(root) and (limit := _number(folder / name)) is not None:
                yield limit


def _number(file: Path) -> int | None:
    """None where there is no such file, or no limit in it (`max`)."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None
