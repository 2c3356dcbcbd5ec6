"""What a test asks for over HTTP: a file a noun, all routes below /api/leveret/testing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.testing.resources import (
    clock,
    faults,
    findings,
    history,
    info,
    messages,
    report,
    sandboxes,
    scheduling,
    snapshots,
    waits,
    why,
)

if TYPE_CHECKING:
    from broker.admin.routing import Route

ROUTES: Final[tuple[Route, ...]] = (
    *faults.ROUTES,
    *findings.ROUTES,
    *clock.ROUTES,
    *history.ROUTES,
    *info.ROUTES,
    *messages.ROUTES,
    *report.ROUTES,
    *sandboxes.ROUTES,
    *scheduling.ROUTES,
    *snapshots.ROUTES,
    *waits.ROUTES,
    *why.ROUTES,
)
