"""A provider that needs no network: a model class with a client that knows whether it is closed."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, ClassVar, Self

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.utils import secret_from_env
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, model_validator

from llmkeep.core import Scope
from llmkeep.models import Adapter
from tests.support.standin import StandIn

TOKENS = ("one ", "two ", "three")


class FakeClient:
    """What an SDK client is to us: something that is made, used and closed once."""

    #: Every one made since the last reset, oldest first.
    made: ClassVar[list[FakeClient]] = []
    _lock = threading.Lock()

    def __init__(self, key: str) -> None:
        self.key = key
        self.closes = 0
        self.calls = 0
        with self._lock:
            self.made.append(self)

    def close(self) -> None:
        self.closes += 1

    def use(self) -> str:
        assert not self.closes, "a closed client was used"
        self.calls += 1
        return self.key


class ChatFake(BaseChatModel):
    """Answers with its key, or streams `TOKENS`."""

    model_config = ConfigDict(populate_by_name=True)

    model_name: str = Field(alias="model")
    temperature: float | None = None
    fake_api_key: SecretStr | None = Field(
        alias="api_key", default_factory=secret_from_env("FAKE_API_KEY", default=None)
    )
    default_headers: dict[str, str] | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    hook: Any = None
    client: Any = Field(default=None, exclude=True)

    _calls: int = PrivateAttr(default=0)

    @model_validator(mode="after")
    def _connect(self) -> Self:
        if self.temperature is not None and self.temperature < 0:
            raise ValueError("temperature must not be negative")
        if self.client is None:
            key = self.fake_api_key
            self.client = FakeClient(key.get_secret_value() if key else "")
        return self

    @property
    def _llm_type(self) -> str:
        return "fake"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature}

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Any:
        text = self.client.use()
        if self.hook is not None:
            self.hook()
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=text))])

    async def _agenerate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Any:
        return self._generate(messages, stop, run_manager, **kwargs)

    def _stream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> Iterator[Any]:
        for token in TOKENS:
            self.client.use()
            yield ChatGenerationChunk(message=AIMessageChunk(content=token))

    async def _astream(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[Any]:
        try:
            for token in TOKENS:
                self.client.use()
                yield ChatGenerationChunk(message=AIMessageChunk(content=token))
        finally:
            await asyncio.sleep(0)  # closing a response takes a turn of the loop
            if self.hook is not None:
                self.hook()


class ChatSyncFake(BaseChatModel):
    """Has nothing asynchronous of its own, like an SDK on boto3."""

    model: str
    hook: Any = None
    client: Any = Field(default_factory=lambda: FakeClient("sync"), exclude=True)

    _hidden: Any = PrivateAttr(default_factory=lambda: FakeClient("hidden"))
    _alias: Any = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        super().model_post_init(context)
        self._alias = self.client

    @property
    def _llm_type(self) -> str:
        return "sync-fake"

    def _generate(self, messages: Any, stop: Any = None, run_manager: Any = None, **_: Any) -> Any:
        if self.hook is not None:
            self.hook()
        return ChatResult(
            generations=[ChatGeneration(message=AIMessage(content=self.client.use()))]
        )


def fake_adapter(provider: str = "fake", scope: Scope = Scope.PROCESS, **more: Any) -> Adapter:
    """An adapter for `ChatFake`, for `llmkeep.models.register`."""
    settings: dict[str, Any] = {
        "path": "tests.models.fakes:ChatFake",
        "package": "fake",
        "reason": "a test",
        "environment": {"FAKE_API_KEY": "fake_api_key", "FAKE_REGION": None},
        "key": "fake_api_key",
        "on_the_wire": frozenset(),
        **more,
    }
    return Adapter(provider=provider, scope=scope, **settings)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until `condition()`; what was dropped on it takes some turns to close."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0)


class KeyedStandIn(StandIn):
    """A stand-in that also remembers which credential each request came with."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.credentials: list[str] = []

    async def _application(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers") or ())
        key = headers.get(b"authorization", b"").removeprefix(b"Bearer ")
        self.credentials.append((key or headers.get(b"x-api-key", b"")).decode())
        before, azure, asked = str(scope.get("path")).partition("/openai/deployments/")
        if azure:  # the same service, under the name of a deployment
            scope = {**scope, "path": f"{before}/v1/{asked.partition('/')[2]}"}
        await super()._application(scope, receive, send)

    def reset(self) -> None:
        super().reset()
        self.credentials.clear()
