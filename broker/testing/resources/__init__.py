"""What a test asks for over HTTP: a file a noun, all routes below /api/leveret/testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.testing.resources import (
    faults,
    findings,
    info,
    report,
    sandboxes,
    snapshots,
    waits,
)

if TYPE_CHECKING:
    from broker.admin.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *faults.ROUTES,
    *findings.ROUTES,
    *info.ROUTES,
    *report.ROUTES,
    *sandboxes.ROUTES,
    *snapshots.ROUTES,
    *waits.ROUTES,
)
