"""`/healthz`, `/readyz`, `/metrics`: for whoever runs the service, who is not signed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

from fastapi import APIRouter, Response

from llmkeep.service.errors import ServiceError

from .parts import Parts, Service
from .schemas import Alive, Check, Ready

router: Final = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="read_health")
async def read_health() -> Alive:
    """The process answers."""
    return Alive()


@router.get(
    "/readyz",
    operation_id="read_readiness",
    responses={503: {"model": Ready, "description": "No requests should be sent here."}},
)
async def read_readiness(service: Parts, response: Response) -> Ready:
    """Whether requests should be sent here: a provider that is away is no reason not to."""
    checks = {
        "store": await _store(service),
        "migrations": await _migrations(service),
        "memory": await _checked(service.handlers.check_memory),
        "model": await _checked(service.handlers.check),  # its handle: no provider is asked
        "provider": Check(status=service.runs.provider_status),
    }
    ready = Ready(status=_status(service, checks), checks=checks)
    if ready.status != "ok":
        response.status_code = 503
    return ready


@router.get(
    "/metrics",
    operation_id="read_metrics",
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text.", "content": {"text/plain": {}}},
    },
)
async def read_metrics(service: Parts) -> Response:
    """Figures for Prometheus."""
    text, kind = service.metrics.exposition()
    return Response(text, media_type=kind)


def _status(service: Service, checks: Mapping[str, Check]) -> Literal["ok", "failed", "draining"]:
    if any(each.status == "failed" for each in checks.values()):
        return "failed"
    return "draining" if service.draining.is_set() else "ok"


async def _store(service: Service) -> Check:
    try:
        await service.store.check()
    except ServiceError as error:
        return Check(status="failed", detail=error.detail)
    try:
        await service.handlers.memory.aget_tuple({"configurable": {"thread_id": ""}})
    except Exception:
        file = service.handlers.memory.path.name
        detail = f"{file} cannot be read: end the service and move the file away, it is made anew"
        return Check(status="failed", detail=detail)
    return Check(status="ok")


async def _migrations(service: Service) -> Check:
    try:
        has, wants = await service.store.version()
    except ServiceError as error:
        return Check(status="failed", detail=error.detail)
    if has != wants:
        return Check(status="failed", detail=f"the store has version {has}, this code {wants}")
    return Check(status="ok")


async def _checked(check: Callable[[], Awaitable[None]]) -> Check:
    try:
        await check()
    except Exception as error:
        from llmkeep.agents.faults import told_to_user

        return Check(status="failed", detail=told_to_user(error)[0])
    return Check(status="ok")
