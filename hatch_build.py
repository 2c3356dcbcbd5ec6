"""Puts the server's packages into the wheel as `leveret/_server/`, where they can't shadow a user's own `broker` or `storage`.

An editable install gets none of it: there the launcher takes the packages from the tree.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SERVER_PACKAGES = ("broker", "protocol", "storage")


class ServerFolder(BuildHookInterface):  # type: ignore[type-arg]
    """hatchling's hook for the wheel target."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Map each server package below `leveret/_server/`, unless the install is editable."""
        if version != "editable":
            build_data["force_include"].update({name: f"leveret/_server/{name}" for name in SERVER_PACKAGES})
