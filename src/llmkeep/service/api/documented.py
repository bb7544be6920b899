"""What OpenAPI says beside the routes: refusals, events, and the shapes of AG-UI."""

from __future__ import annotations

from typing import Any, Final

from ag_ui.core import Event
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter

import llmkeep

from . import schemas as shapes
from .asking import AgentInput
from .problems import MEDIA_TYPE

_REFUSALS: Final = {
    401: "Nobody is signed in (`unauthorized`).",
    403: "Not for this user, or not from there (`forbidden`).",
    404: "There is none, or it is somebody else's (`not_found`, `parent_unknown`).",
    409: "It does not go with what is there: `run_exists`, `thread_busy` (with `run_id`), "
    "`nothing_to_answer`, `thread_deleted`, `thread_exists`.",
    413: "More than is taken (`too_large`).",
    415: "Not JSON (`not_json`).",
    422: "It cannot be understood, or means nothing here (`invalid_...`).",
    429: "Above a limit (`rate_limited`, `too_many_runs`, `tokens_spent`); see `Retry-After`.",
    503: "Not now (`draining`, `unavailable`).",
}

#: Routes that answer with events, and what is in each.
_STREAMS: Final = {
    "/api/agent": "Event",
    "/api/threads/{thread_id}/runs/{run_id}/stream": "Event",
    "/api/cache/stream": "CacheNow",
}

#: Of every route that wants a user.
_EVERYWHERE: Final = (401, 403, 422, 503)

_DESCRIPTION: Final = """\
An agent behind HTTP. `POST /api/agent` speaks AG-UI 1.0; what is beside it has the names that
LangGraph's users know. Every refusal is `application/problem+json` with a `detail` that says what
to do and a `code` for programs.
"""

_TAGS: Final = [
    {"name": "agent", "description": "AG-UI: run input in, server-sent events out."},
    {"name": "threads", "description": "Conversations, with all their branches."},
    {"name": "runs", "description": "Answers: read from any event on, and stopped."},
    {"name": "cache", "description": "What is kept in the process."},
    {"name": "session", "description": "Who asks, how much they may, and of which models."},
    {"name": "health", "description": "For whoever runs the service."},
]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Which refusals a route has, beside those that all have."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {"description": _REFUSALS[status], "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in sorted({*_EVERYWHERE, *statuses})
    }


def add_openapi(app: FastAPI) -> None:
    """Complete what FastAPI makes of the routes."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _events(reference: str) -> dict[str, Any]:
    """An answer of server-sent events, each with JSON (OpenAPI 3.2's way to say it)."""
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"$ref": reference},
    }
    event = {
        "type": "object",
        "properties": {"data": data, "id": {"type": "string"}},
        "required": ["data"],
    }
    return {
        "description": "Events, as they come.",
        "content": {"text/event-stream": {"itemSchema": event}},
    }


def _without_null(document: dict[str, Any]) -> None:
    """What may be left out of an address cannot be null there."""
    for item in document["paths"].values():
        for operation in item.values():
            for parameter in operation.get("parameters", ()):
                schema = parameter["schema"]
                if any_of := schema.pop("anyOf", None):
                    (rest,) = (each for each in any_of if each != {"type": "null"})
                    schema |= rest


def _without_sign_in(document: dict[str, Any]) -> None:
    """Nothing is sent to sign in: everybody is let in, or a proxy has said who it is."""
    del document["components"]["securitySchemes"]
    for item in document["paths"].values():
        for operation in item.values():
            operation.pop("security", None)


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title="llmkeep",
        version=llmkeep.__version__,
        description=_DESCRIPTION,
        routes=app.routes,
        tags=_TAGS,
    )
    schemas = document["components"]["schemas"]
    template = "#/components/schemas/{model}"
    body = AgentInput.model_json_schema(ref_template=template)
    event = TypeAdapter(Event).json_schema(ref_template=template)
    for schema in (body, event):
        schemas.update(schema.pop("$defs", {}))
    schemas |= {
        "AgentInput": body,
        "Event": event,
        "Problem": shapes.Problem.model_json_schema(ref_template=template),
    }
    for path, data in _STREAMS.items():
        for operation in document["paths"][path].values():
            operation["responses"]["200"] = _events(template.format(model=data))
    for name, schema in schemas.items():
        if "examples" in schema and (model := getattr(shapes, name, None)):
            # FastAPI has dropped what is null in them.
            schema["examples"] = model.model_config["json_schema_extra"]["examples"]
    post = document["paths"]["/api/agent"]["post"]
    post["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": template.format(model="AgentInput")}}},
    }
    _without_null(document)
    if app.state.settings.sign_in in ("none", "proxy"):
        _without_sign_in(document)
    return document
