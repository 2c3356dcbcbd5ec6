"""The broker as a whole, and who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broker.admin.routing import Route

if TYPE_CHECKING:
    from broker.admin.call import Call


def whoami(call: Call) -> Any:
    """Tells who the user is."""
    return {"name": call.user_name, "tags": sorted(call.identity.tags), "is_internal_user": True}


ROUTES: Final = (Route("GET", "/api/whoami", whoami),)
