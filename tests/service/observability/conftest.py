"""Nothing that one test sets of the logs and the settings is there for the next."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

import llmkeep
from llmkeep.settings import load, settings
from tests.support.scripted_fixtures import scripted, scripted_server, wire

__all__ = ["scripted", "scripted_server", "wire"]


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """What a test sets is not set for the next."""
    yield
    fresh = load()
    settings.llm, settings.agents, settings.service = fresh.llm, fresh.agents, fresh.service
    llmkeep.close()


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Loggers are the process's own."""
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.Logger.manager.loggerDict)]
    before = [
        (each, each.level, each.handlers[:], each.propagate, each.disabled) for each in loggers
    ]
    yield
    logging.captureWarnings(False)
    for logger, level, handlers, propagate, disabled in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate, logger.disabled = propagate, disabled
