"""`/api/threads`: conversations, made, listed, read, renamed, deleted and taken along."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from urllib.parse import quote

from fastapi import APIRouter, Query, Response

from llmkeep.service.errors import Conflict, NotFound

from .documented import problems
from .exporting import as_markdown
from .identifiers import PathId
from .parts import CountedUser, OwnThread, Parts, User
from .schemas import (
    Message,
    MessageList,
    NewThread,
    Run,
    Thread,
    ThreadChange,
    ThreadDeleted,
    ThreadExport,
    ThreadList,
    ThreadNow,
)

router: Final = APIRouter(prefix="/api/threads", tags=["threads"])

Limit = Annotated[int, Query(ge=1, le=100)]


@router.post(
    "",
    operation_id="create_thread",
    status_code=201,
    response_model=Thread,
    responses={
        200: {"model": Thread, "description": "It was there (`if_exists: do_nothing`)."},
        **problems(409, 413, 415, 429),
    },
)
async def create_thread(
    new: NewThread, response: Response, service: Parts, who: CountedUser
) -> Thread:
    """Make a conversation before its first run; a run makes its own where there is none."""
    thread, is_new = await service.store.open_thread(
        who.user, new.thread_id or str(uuid.uuid4()), title=new.title, metadata=new.metadata
    )
    if thread.deleted_at is not None:
        raise Conflict(
            "this thread was deleted: POST .../restore brings it back, or take another id",
            code="thread_deleted",
        )
    if not is_new:
        if new.if_exists == "raise":
            raise Conflict(
                'you have a thread with this id: take another, or send "if_exists": "do_nothing"',
                code="thread_exists",
            )
        response.status_code = 200
    return Thread.of(thread)


@router.get("", operation_id="list_threads", responses=problems())
async def list_threads(
    service: Parts,
    who: User,
    limit: Limit = 30,
    cursor: Annotated[str | None, Query(max_length=512)] = None,
    q: Annotated[str, Query(max_length=200)] = "",
) -> ThreadList:
    """Your conversations, newest activity first; `q` is looked for in titles and messages."""
    page = await service.store.threads(who.user, limit=limit, cursor=cursor, query=q.strip())
    return ThreadList(
        threads=[Thread.of(each) for each in page.threads], next_cursor=page.next_cursor
    )


@router.get("/{thread_id}", operation_id="read_thread", responses=problems(404))
async def read_thread(service: Parts, thread: OwnThread) -> ThreadNow:
    """A conversation, and the run that is under way in it."""
    run = service.runs.active(thread.user, thread.thread_id)
    return ThreadNow.of(thread, active_run=None if run is None else Run.of(run))


@router.patch(
    "/{thread_id}",
    operation_id="rename_thread",
    responses=problems(404, 413, 415, 429),
)
async def rename_thread(
    change: ThreadChange, service: Parts, _who: CountedUser, thread: OwnThread
) -> Thread:
    """Give it a title, which automatic ones do not replace."""
    return Thread.of(await service.store.rename_thread(thread, change.title))


@router.delete("/{thread_id}", operation_id="delete_thread", responses=problems(404, 429))
async def delete_thread(service: Parts, _who: CountedUser, thread: OwnThread) -> ThreadDeleted:
    """Hide it, and stop what runs in it; it is gone for good when the undo time is over."""
    now = datetime.now(UTC)
    await service.store.delete_thread(thread, now)  # from now on none starts in it
    await service.runs.stop_thread(thread.user, thread.thread_id)
    until = now + timedelta(seconds=service.settings.undo_seconds)
    return ThreadDeleted(thread_id=thread.thread_id, restorable_until=until)


@router.post(
    "/{thread_id}/restore",
    operation_id="restore_thread",
    responses=problems(404, 415, 429),
)
async def restore_thread(service: Parts, who: CountedUser, thread_id: PathId) -> Thread:
    """Undo a deletion; a thread that is not deleted stays as it is."""
    thread = await service.store.thread(who.user, thread_id, deleted=True)
    if thread is None:
        raise NotFound("there is no such thread any more: its undo time is over")
    if thread.deleted_at is not None:
        thread = await service.store.restore_thread(thread)
    return Thread.of(thread)


@router.get("/{thread_id}/messages", operation_id="list_messages", responses=problems(404))
async def list_messages(service: Parts, thread: OwnThread) -> MessageList:
    """All messages, of all branches, oldest first."""
    messages = await service.store.messages(thread)
    return MessageList(messages=[Message.of(each) for each in messages])


@router.get(
    "/{thread_id}/export",
    operation_id="export_thread",
    response_model=ThreadExport,
    responses={
        200: {
            "description": "An attachment.",
            "content": {"text/markdown": {"schema": {"type": "string"}}},
        },
        **problems(404),
    },
)
async def export_thread(
    service: Parts,
    thread: OwnThread,
    kind: Annotated[Literal["markdown", "json"], Query(alias="format")] = "markdown",
) -> Response:
    """A conversation as a file: as JSON with all branches, in Markdown the one said last."""
    if kind == "json":
        messages = await service.store.messages(thread)
        told = ThreadExport(
            thread=Thread.of(thread), messages=[Message.of(each) for each in messages]
        )
        return _file(told.model_dump_json(indent=2), "application/json", thread.title, "json")
    path = await service.store.path(thread, thread.head_id)
    return _file(as_markdown(thread, path), "text/markdown; charset=utf-8", thread.title, "md")


def _file(text: str, media_type: str, title: str, ending: str) -> Response:
    letters = (letter if letter.isalnum() else "-" for letter in title.strip()[:80])
    name = "-".join(part for part in "".join(letters).split("-") if part) or "conversation"
    disposition = f"attachment; filename=\"conversation.{ending}\"; filename*=UTF-8''"
    headers = {"Content-Disposition": f"{disposition}{quote(name)}.{ending}"}
    return Response(text, headers=headers, media_type=media_type)
