"""The OpenAPI document: complete, and true where it gives examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from llmkeep.service.api import schemas
from llmkeep.service.api.asking import understand
from llmkeep.service.app import create_app
from llmkeep.settings import ServiceSettings, TokenHolder

ADA = TokenHolder(user="ada")

ANYTHING: dict[str, Any] = {"longest": 100, "on_disconnect": None, "multitask_strategy": None}
METHODS = ("get", "post", "patch", "delete")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return of(ServiceSettings(sign_in="token", tokens={SecretStr("a-token-of-ada-1234"): ADA}))


def of(settings: ServiceSettings) -> dict[str, Any]:
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method} {path}", item[method]


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from walk(each)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    """Whatever is referred to is in the document."""
    references = {each["$ref"] for each in walk(document) if isinstance(each.get("$ref"), str)}
    names = {reference.removeprefix("#/components/schemas/") for reference in references}
    assert names <= document["components"]["schemas"].keys()


def test_every_operation_is_told_whole(document: dict[str, Any]) -> None:
    """Each has a name of its own, a group, a description, and refusals that are problems."""
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(names) == len(set(names))
    groups = {tag["name"] for tag in document["tags"]}
    for name, operation in operations(document):
        assert set(operation["tags"]) <= groups, name
        assert operation["description"], name
        for status, answer in operation["responses"].items():
            if int(status) >= 400 and not name.endswith("/readyz"):
                assert list(answer["content"]) == ["application/problem+json"], (name, status)


def test_who_must_sign_in(document: dict[str, Any]) -> None:
    """Every route of the interface wants a user, but the one that tells how to become one."""
    public = {name for name, operation in operations(document) if not operation.get("security")}
    assert public == {"get /api/config", "get /healthz", "get /readyz", "get /metrics"}
    assert list(document["components"]["securitySchemes"]) == ["HTTPBearer"]
    free = of(ServiceSettings())
    assert "securitySchemes" not in free["components"]
    assert not any(operation.get("security") for _, operation in operations(free))


def test_examples_are_true(document: dict[str, Any]) -> None:
    """Each example is what its own shape says, and has all of its members."""
    for name, schema in document["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            if name == "AgentInput":
                assert understand(json.dumps(example).encode(), **ANYTHING).request.thread_id
                continue
            shape = getattr(schemas, name)
            told = shape.model_validate(example).model_dump(mode="json", exclude_unset=True)
            assert told.keys() == example.keys(), name
            if not name.startswith(("NewThread", "ThreadChange", "CacheNow")):
                assert set(schema["required"]) <= example.keys(), name


def test_every_answer_has_an_example(document: dict[str, Any]) -> None:
    """What a route answers is shown, not only described."""
    shown = document["components"]["schemas"]
    for name, operation in operations(document):
        for status, answer in operation["responses"].items():
            schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
            if int(status) < 300 and "$ref" in schema:
                shape = schema["$ref"].rpartition("/")[2]
                assert "examples" in shown[shape] or _is_listed(shown, shape), name


def _is_listed(shown: dict[str, Any], shape: str) -> bool:
    """Whether it is a list of what has an example."""
    inner = [each["$ref"].rpartition("/")[2] for each in walk(shown[shape]) if "$ref" in each]
    return all("examples" in shown[each] for each in inner)


def test_events_and_input_are_described(document: dict[str, Any]) -> None:
    """What AG-UI sends and gets is there, as it is spelled on the wire."""
    shown = document["components"]["schemas"]
    assert "threadId" in shown["AgentInput"]["properties"]
    assert "thread_id" not in shown["AgentInput"]["properties"]
    assert "toolCallId" in shown["ToolCallStartEvent"]["properties"]
    post = document["paths"]["/api/agent"]["post"]
    content = post["requestBody"]["content"]["application/json"]
    assert content["schema"]["$ref"].endswith("/AgentInput")
    assert "text/event-stream" in post["responses"]["200"]["content"]
