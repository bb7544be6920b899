"""Messages: a tree, of which a path is read, and what stands beside it."""

from __future__ import annotations

import pytest

from llmkeep.service.interfaces import MessagesPut
from llmkeep.service.records import Call
from tests.service.storage.scene import (
    BEGINNING,
    again,
    finish,
    ids,
    message,
    open_run,
    open_thread,
    say,
)


async def test_a_message_comes_back_as_it_was_written(store, thread):
    """Every field of it."""
    assistant = message(
        "a",
        role="assistant",
        content="Grüße 你好 \N{GRINNING FACE}",
        status="partial",
        calls=(Call("c1", "add_note", '{"text": "\\u00fc"}'), Call("c2", "clock", "{")),
    )
    tool = message(
        "b", "a", role="tool", content="", status="declined", tool_call_id="c1", duration=0.25
    )
    await say(store, thread, assistant, tool)

    assert await store.messages(thread) == [assistant, tool]
    assert await store.message(thread, "b") == tool
    assert await store.message(thread, "c") is None


async def test_a_message_that_comes_again_replaces_itself_in_its_place(store, thread):
    """A partial answer becomes the whole one, where it stood."""
    await say(store, thread, message("a"), message("b", "a", role="assistant", status="partial"))
    await say(store, thread, message("c", "b"))
    whole = message("b", "a", role="assistant", content="whole", calls=(Call("c1", "x", "{}"),))
    await say(store, thread, whole)

    assert ids(await store.messages(thread)) == ["a", "b", "c"]
    assert await store.message(thread, "b") == whole
    assert not (await again(store, thread)).is_branched


async def test_the_last_message_is_the_head_and_the_thread_is_active(store, thread):
    """Of the last change in a batch, and from that moment."""
    await store.write(
        [
            MessagesPut(thread.key, [message("a"), message("b", "a")]),
            MessagesPut(thread.key, [message("c", "b")]),
        ]
    )

    now = await again(store, thread)
    assert now.head_id == "c"
    assert now.updated_at > thread.updated_at


@pytest.mark.parametrize(
    ("parents", "is_branched"),
    [
        ({"a": None}, False),
        ({"a": None, "b": "a", "c": "b"}, False),
        ({"a": None, "b": "a", "c": "a"}, True),
        ({"a": None, "b": None}, True),
    ],
)
async def test_a_thread_with_a_fork_is_branched(store, thread, parents, is_branched):
    """Two messages under one, or two beginnings; in one batch or in several, and for ever."""
    for name, parent in parents.items():
        await say(store, thread, message(name, parent))
    assert (await again(store, thread)).is_branched == is_branched

    other = await open_thread(store, "t2")
    await say(store, other, *(message(name, parent) for name, parent in parents.items()))
    assert (await again(store, other)).is_branched == is_branched

    await say(store, thread, message("z", list(parents)[-1]))
    assert (await again(store, thread)).is_branched == is_branched


async def grow(store, thread):
    """A - b - c - d, with c2 - d2 beside c - d, and a beginning of its own beside a."""
    calls = (Call("call-c", "x", "{}"),)
    await say(store, thread, message("a"), message("b", "a"))
    await say(store, thread, message("c", "b", role="assistant", calls=calls), message("d", "c"))
    more = (Call("call-c2", "x", "{}"), Call("call-c3", "x", "{}"))
    await say(store, thread, message("c2", "b", role="assistant", calls=more), message("d2", "c2"))
    await say(store, thread, message("e"))


async def test_a_path_leads_from_the_first_message_to_the_one_asked_for(store, thread):
    """Whatever else hangs on it; another thread's messages of the same names are not in it."""
    other = await open_thread(store, "t2")
    await say(store, other, message("a"), message("d", "a"))
    await grow(store, thread)

    assert ids(await store.path(thread, "d")) == ["a", "b", "c", "d"]
    assert ids(await store.path(thread, "d2")) == ["a", "b", "c2", "d2"]
    assert ids(await store.path(thread, "b")) == ["a", "b"]
    assert ids(await store.path(thread, "e")) == ["e"]
    assert ids(await store.path(thread, "nowhere")) == []
    assert ids(await store.path(thread, None)) == []
    assert ids(await store.messages(thread)) == ["a", "b", "c", "d", "c2", "d2", "e"]


async def test_a_long_path_is_whole(store, thread):
    """A thousand messages deep."""
    names = [f"m{number}" for number in range(1000)]
    pairs = zip(names, [None, *names], strict=False)
    await say(store, thread, *(message(name, parent) for name, parent in pairs))

    assert ids(await store.path(thread, "m999")) == names
    assert await store.ids_beside(thread, "m999") == frozenset()
    assert await store.ids_beside(thread, "m997") == {"m998", "m999"}


async def test_a_circle_of_parents_ends(store, thread):
    """Nobody writes one, but reading it would never end."""
    await say(store, thread, message("a", "b"), message("b", "a"))

    assert set(ids(await store.path(thread, "b"))) == {"a", "b"}
    assert await store.ids_beside(thread, "b") == frozenset()


async def test_beside_a_path_stands_every_other_id(store, thread):
    """Of messages and of their calls: none of those is given again in this thread."""
    assert await store.ids_beside(thread, None) == frozenset()
    await say(store, thread, message("a"), message("b", "a"))
    assert await store.ids_beside(thread, "b") == frozenset()
    assert await store.ids_beside(thread, "a") == {"b"}
    await grow(store, thread)

    # The thread as it was before all that: what is there now counts.
    assert await store.ids_beside(thread, "d") == {"c2", "d2", "e", "call-c2", "call-c3"}
    assert await store.ids_beside(thread, "d2") == {"c", "d", "e", "call-c"}
    assert await store.ids_beside(thread, "b") >= {"c", "d", "c2", "d2", "e", "call-c", "call-c2"}
    assert await store.ids_beside(thread, None) >= {"a", "b", "e", "call-c3"}


async def test_known_messages_are_those_that_are_there(store, thread):
    """In this thread, however many are asked for."""
    other = await open_thread(store, "t2")
    await say(store, other, message("elsewhere"))
    await say(store, thread, message("a"), message("ü'\"\\", "a"))
    asked = ["elsewhere", "a", "ü'\"\\", *(f"x{number}" for number in range(40_000))]

    assert await store.known_messages(thread, asked) == {"a", "ü'\"\\"}
    assert await store.known_messages(thread, []) == frozenset()


async def test_model_and_usage_come_from_the_run(store, thread):
    """The model at each message of the assistant, the tokens at the last of its run."""
    one, two = await open_run(store, thread, "r1"), await open_run(store, thread, "r2")
    await say(
        store,
        thread,
        message("u1"),
        message("a1", "u1", role="assistant"),
        message("t1", "a1", role="tool", status="success"),
        message("a2", "t1", role="assistant"),
        message("u2", "a2", run_id="r2"),
        message("a3", "u2", role="assistant", run_id="r2"),
        message("a4", "a3", role="assistant", run_id="gone"),
    )
    usage = [
        {"provider": "p", "model": "x", "inputTokens": 3, "outputTokens": 4, "totalTokens": 7},
        {"provider": "p", "model": "y", "inputTokens": 1, "cachedInputTokens": 5},
    ]
    await finish(store, one, usage=usage)
    await finish(store, two, usage=None)

    found = {each.message_id: (each.model, each.usage) for each in await store.messages(thread)}
    totals = {"input_tokens": 4, "output_tokens": 4, "total_tokens": 7, "cached_input_tokens": 5}
    assert found == {
        "u1": (None, None),
        "a1": ("openai:some", None),
        "t1": (None, None),
        "a2": ("openai:some", totals),
        "u2": (None, None),
        "a3": ("openai:some", None),
        "a4": (None, None),
    }
    assert [each.model for each in await store.path(thread, "a2")] == [
        None,
        "openai:some",
        None,
        "openai:some",
    ]
    assert (await store.messages(thread))[0].created_at == BEGINNING
