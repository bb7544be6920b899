"""What the service is measured beside: three servers that one would write by hand.

    python -m benchmarks.service_peers pass-through|hand|clients FOLDER

Each prints its port and serves until its standard input ends. The provider is named by
OPENAI_BASE_URL. `hand` is what a careful person writes: one model and one compiled graph for all
requests, conversations in SQLite, plain AG-UI events out, and no more than that: no log of events,
no stop, no second reader, no list of conversations.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from .provider import KEY, MODEL
from .service import TOOLS


class Message(BaseModel):
    """One of a conversation."""

    id: str
    role: str
    content: str


class Input(BaseModel):
    """As much of AG-UI's RunAgentInput as is looked at."""

    thread_id: str = Field(alias="threadId")
    run_id: str = Field(alias="runId")
    messages: list[Message]


def pass_through() -> FastAPI:
    """One HTTP client; what the provider sends goes on as it is."""
    import httpx

    client = httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None))
    headers = {"Authorization": f"Bearer {KEY}"}
    url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/api/agent")
    async def agent(asked: Input) -> StreamingResponse:
        said = [{"role": each.role, "content": each.content} for each in asked.messages]
        body = {"model": MODEL, "messages": said, "stream": True}

        async def answer() -> AsyncIterator[bytes]:
            async with client.stream("POST", url, json=body, headers=headers) as upstream:
                async for chunk in upstream.aiter_raw():
                    yield chunk

        return StreamingResponse(answer(), media_type="text/event-stream")

    return app


def by_hand(folder: Path, *, is_shared: bool) -> FastAPI:
    """An agent; its model, its client and its graph are shared, or made for each request."""
    from langchain.agents import create_agent
    from langchain_core.messages import AIMessageChunk, HumanMessage
    from langchain_openai import ChatOpenAI
    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
    from openai import DefaultAsyncHttpxClient

    from llmkeep.agents.handler import PROMPT
    from llmkeep.agents.tools import builtin_tools

    tools = list(builtin_tools(TOOLS, database=False))
    state: dict[str, Any] = {}

    def graph(model: Any) -> Any:
        return create_agent(model, tools, system_prompt=PROMPT, checkpointer=state["saver"])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        file = str(folder / "checkpoints.sqlite")
        async with AsyncSqliteSaver.from_conn_string(file) as saver:
            await saver.setup()
            state["saver"] = saver
            if is_shared:
                state["graph"] = graph(ChatOpenAI(model=MODEL, stream_usage=True))
            yield

    app = FastAPI(lifespan=lifespan)

    async def answer(asked: Input) -> AsyncIterator[str]:
        names = {"threadId": asked.thread_id, "runId": asked.run_id}
        said = HumanMessage(asked.messages[-1].content, id=asked.messages[-1].id)
        config = {"configurable": {"thread_id": asked.thread_id}}
        async with AsyncExitStack() as stack:
            if is_shared:
                agent = state["graph"]
            else:
                client = await stack.enter_async_context(DefaultAsyncHttpxClient())
                agent = graph(ChatOpenAI(model=MODEL, stream_usage=True, http_async_client=client))
            yield _event("RUN_STARTED", **names)
            message_id = None
            chunks = agent.astream({"messages": [said]}, config, stream_mode="messages")
            async for chunk, _ in chunks:
                if not isinstance(chunk, AIMessageChunk) or not chunk.text:
                    continue
                if message_id is None:
                    message_id = chunk.id
                    yield _event("TEXT_MESSAGE_START", messageId=message_id, role="assistant")
                yield _event("TEXT_MESSAGE_CONTENT", messageId=message_id, delta=chunk.text)
            yield _event("TEXT_MESSAGE_END", messageId=message_id)
            yield _event("RUN_FINISHED", **names)

    @app.post("/api/agent")
    async def agent(asked: Input) -> StreamingResponse:
        return StreamingResponse(answer(asked), media_type="text/event-stream")

    return app


def _event(kind: str, **members: Any) -> str:
    return f"data: {json.dumps({'type': kind, **members})}\n\n"


def main(kind: str, folder: Path) -> None:
    """Serve one of the three, on any port, as `uvicorn` does by default."""
    os.environ["OPENAI_API_KEY"] = KEY
    app = pass_through() if kind == "pass-through" else by_hand(folder, is_shared=kind == "hand")
    server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning"))

    def end_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_parent, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        print(listener.getsockname()[1], flush=True)
        server.run([listener])


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
