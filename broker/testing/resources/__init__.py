"""What a test asks for over HTTP: a file a noun, all routes below /api/leveret/testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.testing.resources import (
    clock,
    findings,
    info,
    report,
    sandboxes,
    scheduling,
    snapshots,
    waits,
)

if TYPE_CHECKING:
    from broker.admin.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *findings.ROUTES,
    *clock.ROUTES,
    *info.ROUTES,
    *report.ROUTES,
    *sandboxes.ROUTES,
    *scheduling.ROUTES,
    *snapshots.ROUTES,
    *waits.ROUTES,
)
