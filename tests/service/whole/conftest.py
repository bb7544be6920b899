"""A running service, and the provider that it asks."""

from __future__ import annotations

from tests.support.service_fixtures import (
    client,
    doors,
    provider,
    scripted_server,
    service,
    service_process,
    start_service,
)

__all__ = [
    "client",
    "doors",
    "provider",
    "scripted_server",
    "service",
    "service_process",
    "start_service",
]
