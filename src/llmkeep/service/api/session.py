"""`/api/config`, `/api/me`, `/api/models`: what a client must know before anything else."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

import llmkeep

from .documented import problems
from .parts import Parts, User
from .schemas import Config, Limits, Me, Model, ModelList

router: Final = APIRouter(prefix="/api", tags=["session"])


@router.get("/config", operation_id="read_config")
async def read_config(service: Parts) -> Config:
    """How to sign in; for everybody."""
    return Config(version=llmkeep.__version__, sign_in=service.settings.sign_in)


@router.get("/me", operation_id="read_me", responses=problems())
async def read_me(service: Parts, who: User) -> Me:
    """Who you are here, and how much you may do."""
    settings = service.settings
    return Me(
        user=who.user,
        administrator=who.is_administrator,
        limits=Limits(
            requests_per_minute=settings.requests_per_minute,
            concurrent_runs=settings.concurrent_runs,
            message_characters=settings.message_characters,
            tokens_per_day=settings.tokens_per_day,
        ),
        tokens_today=await service.limiter.tokens_today(who.user),
    )


@router.get("/models", operation_id="list_models", responses=problems())
async def list_models(service: Parts, _who: User) -> ModelList:
    """The models to choose from, the default first."""
    return ModelList(
        models=[
            Model(
                id=each.id,
                provider=each.provider,
                name=each.name,
                default=each.is_default,
                demonstration=each.is_demonstration,
            )
            for each in await service.handlers.models()
        ]
    )
