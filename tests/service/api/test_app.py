"""`create_app`: what belongs to one application, and how its parts begin and end."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmkeep.core.errors import LLMKeepError
from llmkeep.service import create_app
from llmkeep.settings import ServiceSettings, SettingsError
from tests.service.api.application import running
from tests.service.conftest import Start
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Text
from tests.support.service_client import Client


async def test_two_applications_share_nothing(
    start: Start, scripted: Scripted, tmp_path: Path
) -> None:
    """In one process, each has its folder, its users' threads, and its settings."""
    scripted.say(Text("Hello"))
    other = ServiceSettings(data_dir=tmp_path / "other", requests_per_minute=7)
    async with (
        start() as one,
        running(other) as two,
        Client(one.address) as first,
        Client(two.address) as second,
    ):
        await first.ask("t", "hi")
        assert [each["thread_id"] for each in await first.threads()] == ["t"]
        assert await second.threads() == []
        me = await second.json("GET", "/api/me")
        assert me["limits"]["requests_per_minute"] == 7


async def test_one_application_owns_a_folder(start: Start, tmp_path: Path) -> None:
    """A second one is told which, and the first is as it was."""
    async with start() as app, Client(app.address) as client:
        again = create_app(ServiceSettings(data_dir=tmp_path / "data"))
        with pytest.raises(SettingsError, match="SERVICE__DATA_DIR"):
            async with again.router.lifespan_context(again):
                pass
        assert await client.threads() == []


async def test_what_cannot_begin_leaves_nothing(start: Start, tmp_path: Path) -> None:
    """A file that is no store is told in one line, and the folder is free again."""
    (tmp_path / "data").mkdir()
    store = tmp_path / "data" / "service.sqlite3"
    store.write_bytes(b"this is not a database, and longer than a header of one" * 20)
    with pytest.raises(LLMKeepError) as error:
        async with start():
            pass
    assert "\n" not in str(error.value)
    store.unlink()
    async with start() as app, Client(app.address) as client:
        assert await client.threads() == []


async def test_what_was_said_is_there_after_a_restart(start: Start, scripted: Scripted) -> None:
    """Threads, messages and the model's memory of them outlive the application."""
    scripted.say(Text("Hello"))
    scripted.say(Text("You said hi."))
    async with start() as app, Client(app.address) as client:
        await client.ask("t", "hi")
    async with start() as app, Client(app.address) as client:
        await client.ask("t", "what did I say?")
        messages = await client.messages("t")
    assert [each["content"] for each in messages] == [
        "hi",
        "Hello",
        "what did I say?",
        "You said hi.",
    ]
    told = [each["content"] for each in scripted.asked[1].messages if each["role"] != "system"]
    assert told == ["hi", "Hello", "what did I say?"]


def test_others_are_not_let_in_without_a_sign_in() -> None:
    """An application for the world wants one, whoever serves it."""
    with pytest.raises(SettingsError, match="SERVICE__SIGN_IN"):
        create_app(ServiceSettings(host="0.0.0.0"))
