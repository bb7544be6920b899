"""The service: an agent behind HTTP, with its page. `create_app` makes the ASGI application.

Outside: `api` (what is spoken) and `users`, `security` (who may speak). Inside: `runs` (a run and
those who read it, apart from connections) on `storage` (what is kept). `records`, `errors` and
`interfaces` are what they share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":  # late, since FastAPI and all behind it come with it
        from .app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
