"""Threads: opened, found, named, listed, searched, deleted and restored."""

from __future__ import annotations

from datetime import timedelta

import pytest

from llmkeep.service.errors import Invalid, NotFound
from llmkeep.service.interfaces import RunChanged, TitleGiven
from llmkeep.service.storage.rows import to_number
from tests.service.storage.scene import (
    BEGINNING,
    again,
    finish,
    message,
    open_run,
    open_thread,
    say,
)


async def listed(store, user="ann", **how):
    page = await store.threads(user, limit=100, **how)
    return [each.thread_id for each in page.threads]


async def test_a_thread_is_opened_once(store):
    """Who opens it again gets the one that is there, and is told so."""
    first, is_new = await store.open_thread("ann", "t1", title="Tea", metadata={"a": ["ü"]})
    second, is_new_again = await store.open_thread("ann", "t1", title="Other", metadata={})

    assert (is_new, is_new_again) == (True, False)
    assert second == first == await store.thread("ann", "t1")
    assert (first.title, first.metadata) == ("Tea", {"a": ["ü"]})
    assert first.created_at == first.updated_at
    assert await store.thread("ann", "other") is None


async def test_an_automatic_title_yields_to_a_persons(store, thread):
    """It is taken until somebody gives one, be that an empty one."""
    await store.write([TitleGiven(thread.key, "First")])
    await store.write([TitleGiven(thread.key, "Second")])
    assert (await again(store, thread)).title == "Second"

    renamed = await store.rename_thread(thread, "")
    await store.write([TitleGiven(thread.key, "Third")])

    assert renamed == await again(store, thread)
    assert renamed.title == ""
    opened, _ = await store.open_thread("ann", "t2", title="Given")
    await store.write([TitleGiven(opened.key, "Automatic")])
    assert (await again(store, opened)).title == "Given"


async def test_a_thread_tells_of_its_last_run(store, thread):
    """The newest that has begun: one that waits its turn is not it yet."""
    first, second = await open_run(store, thread, "r1"), await open_run(store, thread, "r2")
    assert (await again(store, thread)).last_status is None

    await store.write([RunChanged(first.key, {"status": "running", "started_at": BEGINNING})])
    now = await again(store, thread)
    assert (now.last_run_id, now.last_status) == ("r1", "running")

    await finish(store, first)
    await finish(store, second, status="error")
    now = await again(store, thread)
    assert (now.last_run_id, now.last_status) == ("r2", "error")


async def test_a_deleted_thread_is_hidden_until_it_is_restored(store, thread):
    """It is in no list and found by none but who asks for it; deleted again it stays so."""
    run = await open_run(store, thread)
    await finish(store, run)
    await store.delete_thread(thread, BEGINNING)
    await store.delete_thread(thread, BEGINNING + timedelta(days=1))

    assert await store.thread("ann", "t1") is None
    assert await listed(store) == []
    assert await store.run("ann", "t1", "r1") is None
    deleted = await store.thread("ann", "t1", deleted=True)
    assert deleted is not None
    assert deleted.deleted_at == BEGINNING
    assert await store.open_thread("ann", "t1") == (deleted, False)

    restored = await store.restore_thread(thread)

    assert restored == await store.thread("ann", "t1")
    assert restored.deleted_at is None
    assert await store.run("ann", "t1", "r1") is not None


async def test_what_is_purged_is_not_there(store, thread):
    """To rename, delete or restore it is refused in words."""
    await store.delete_thread(thread, BEGINNING)
    await store.purge_thread(thread)

    for attempt in (
        store.rename_thread(thread, "x"),
        store.restore_thread(thread),
        store.delete_thread(thread, BEGINNING),
    ):
        with pytest.raises(NotFound):
            await attempt


# --- lists ---------------------------------------------------------------------------------------


async def test_pages_have_each_thread_once(store):
    """Newest activity first; none is on two pages, and none is left out."""
    for number in range(7):
        await open_thread(store, f"t{number}")
    await open_thread(store, "somebody-elses", user="bob")

    seen, cursor, sizes = [], None, []
    while True:
        page = await store.threads("ann", limit=3, cursor=cursor)
        seen += [each.thread_id for each in page.threads]
        sizes.append(len(page.threads))
        if (cursor := page.next_cursor) is None:
            break

    assert seen == ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]
    assert sizes == [3, 3, 1]


async def test_pages_are_stable_while_threads_become_active(store):
    """One that has been seen comes no second time; the others stay in their places."""
    threads = [await open_thread(store, f"t{number}") for number in range(6)]
    first = await store.threads("ann", limit=2)
    await say(store, threads[5], message("m"))  # on the first page
    await open_thread(store, "new")
    await say(store, threads[3], message("m"))  # would have been on the next

    rest = await store.threads("ann", limit=9, cursor=first.next_cursor)

    assert [each.thread_id for each in first.threads] == ["t5", "t4"]
    assert [each.thread_id for each in rest.threads] == ["t2", "t1", "t0"]
    assert await listed(store) == ["t3", "new", "t5", "t4", "t2", "t1", "t0"]


async def test_threads_of_one_moment_have_an_order(store, clock):
    """Paging goes by the number as well: a clock that stands still loses none."""
    moment = clock.time
    for number in range(4):
        clock.time = moment
        await open_thread(store, f"t{number}")
    page = await store.threads("ann", limit=2)
    rest = await store.threads("ann", limit=2, cursor=page.next_cursor)

    assert {to_number(each.updated_at) for each in (*page.threads, *rest.threads)} == {
        to_number(moment + timedelta(seconds=1))
    }
    assert [each.thread_id for each in (*page.threads, *rest.threads)] == ["t3", "t2", "t1", "t0"]


@pytest.mark.parametrize(
    "cursor", ["", "x", "~~~", "MS4", "YS5i", "MTIz", "ü", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OS4x"]
)
async def test_a_cursor_of_somebody_elses_making_is_refused(store, thread, cursor):
    """In words, not by a fault of the database."""
    with pytest.raises(Invalid) as refused:
        await store.threads("ann", limit=3, cursor=cursor)
    assert refused.value.code == "invalid_cursor"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("straße", ["title"]),
        ("STRASSE", ["title"]),
        ("äpfel", ["said"]),
        ("ÄPFEL", ["said"]),
        ("A\N{COMBINING DIAERESIS}pfel", ["said"]),
        ("天气", ["answered"]),
        ("ＳＵＮＮＹ", ["answered"]),
        ("rot äpfel", ["said"]),
        ("äpfel birnen", []),
        ("100%", ["percent"]),
        ("0%_", []),
        ("_", []),
        ("\\", ["percent"]),
        ("", ["percent", "tool", "answered", "said", "title"]),
        ("   ", ["percent", "tool", "answered", "said", "title"]),
        ("secret-result", []),
    ],
)
async def test_search_finds_words_in_titles_and_messages(store, query, found):
    """Each word somewhere in the thread, in any case and script, signs as they are; no results."""
    title = await open_thread(store, "title")
    await store.rename_thread(title, "Die Straße")
    said = await open_thread(store, "said")
    await say(store, said, message("a", content="Äpfel"), message("b", "a", content="sind ROT"))
    answered = await open_thread(store, "answered")
    await say(store, answered, message("a", role="assistant", content="今天天气: sunny"))
    tool = await open_thread(store, "tool")
    await say(store, tool, message("a", role="tool", status="success", content="secret-result"))
    percent = await open_thread(store, "percent")
    await say(store, percent, message("a", content="100% C:\\"))

    assert await listed(store, query=query) == found
    assert await listed(store, user="bob", query=query) == []
