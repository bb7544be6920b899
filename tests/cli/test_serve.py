"""`llmkeep serve`: what it says, where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from llmkeep.cli import serve as serving
from llmkeep.cli.app import app
from llmkeep.cli.serve import CannotListen, Server, configuration, listening
from llmkeep.models.local import Box
from llmkeep.settings import load, settings
from tests.support.scripted import Scripted
from tests.support.scripted_fixtures import scripted_server
from tests.support.scripted_signal import PATIENCE
from tests.support.scripted_wire import Gate, Text
from tests.support.service import Service
from tests.support.service_client import Client, run_input

__all__ = ["scripted_server"]


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What the command sets is not set for the next test."""
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    fresh = load()
    settings.service.data_dir = tmp_path / "service"
    yield
    settings.llm, settings.agents, settings.service = fresh.llm, fresh.agents, fresh.service


def refusal(*arguments: str) -> str:
    """The one line with which the command ends."""
    ended = CliRunner().invoke(app, ["serve", *arguments])
    assert ended.exit_code == 1
    (line,) = ended.stderr.splitlines()
    return line


def test_a_taken_port_is_told() -> None:
    """The line says which, and what to do; nothing else happens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal("--port", str(port))
    assert f"port {port} of 127.0.0.1 is taken" in line
    assert "--port" in line
    assert not settings.service.folder().exists()


def test_listening_for_others_wants_a_sign_in() -> None:
    """Beyond this machine nobody is let in without one, and the variable is named."""
    assert "SERVICE__SIGN_IN" in refusal("--host", "0.0.0.0", "--port", "0")


def test_a_host_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address, and an address that is not this machine's."""
    monkeypatch.setattr(settings.service, "sign_in", "proxy")
    with pytest.raises(CannotListen, match="no such address"), listening("no-such.invalid", 0):
        pass
    with pytest.raises(CannotListen, match=r"port 0 of 192\.0\.2\.1"), listening("192.0.2.1", 0):
        pass


def test_a_model_beside_a_list_of_models_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one is meant cannot be known."""
    monkeypatch.setattr(settings.service, "models", ("openai:gpt-5-mini",))
    assert "SERVICE__MODELS" in refusal("--model", "openai:gpt-5")


def test_a_misspelt_setting_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the name that was meant; what is not ours is not judged."""
    monkeypatch.setenv("SERVICE__DRAIN_SECOND", "5")
    monkeypatch.setenv("SERVICE__PORT", "8000")
    monkeypatch.setenv("ANOTHER_SERVICE__DRAIN", "5")
    serving._warn_of_unknown_variables()
    told = capsys.readouterr().err
    assert told == (
        "llmkeep: SERVICE__DRAIN_SECOND is no setting: is SERVICE__DRAIN_SECONDS meant?\n"
    )


def test_a_model_in_the_box_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, with what to install, and not at the first message."""
    box = Box("no-such-package", "model.gguf", {})
    monkeypatch.setattr(serving, "BOXES", {"smollm2": box})
    assert "no-such-package" in refusal("--model", "local:smollm2")


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what the service needs the line says how to get it."""
    monkeypatch.delitem(sys.modules, "llmkeep.cli.serve")
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    line = refusal("--port", "0")
    assert line == 'llmkeep: uvicorn is not installed: pip install "llmkeep[serve]"'


def test_a_folder_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    """The line names the variable."""
    (tmp_path / "file").write_text("")
    line = refusal("--port", "0", "--data-dir", str(tmp_path / "file"))
    assert "SERVICE__DATA_DIR" in line


def test_accepted_connections_do_not_wait_to_be_acknowledged() -> None:
    """What is accepted has TCP_NODELAY, whatever the loop does about it."""
    with listening("127.0.0.1", 0) as listener:
        with socket.create_connection(listener.getsockname()):
            accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_an_address_of_the_newer_kind() -> None:
    """`::1` can be listened on, where there is such a thing."""
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with listening("::1", 0) as listener:
            assert listener.getsockname()[0] == "::1"
    except CannotListen:
        pytest.skip("this machine has no IPv6")


async def test_who_does_not_read_keeps_nobody_from_ending() -> None:
    """When the server ends, a connection that takes nothing is dropped after the last words."""

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = asyncio.create_task(_until_gone(receive))
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            began.set()
            await asyncio.sleep(0)

    began, started = asyncio.Event(), asyncio.Event()
    with listening("127.0.0.1", 0) as listener:
        server = Server(configuration(endless), started.set, last_words=0.01)
        serving = asyncio.create_task(server.serve([listener]))
        await started.wait()
        _, writer = await asyncio.open_connection(*listener.getsockname(), limit=1)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        await began.wait()
        server.should_exit = True
        await asyncio.wait_for(serving, PATIENCE)
        writer.transport.abort()


async def test_a_second_signal_ends_it_at_once(tmp_path: Path, scripted_server: Scripted) -> None:
    """It says where it is; the first signal waits for what runs, the second for nothing."""
    scripted_server.reset()
    scripted_server.say(Text("a"), Gate())
    base_url = scripted_server.base_url("openai")
    with Service(tmp_path / "data", base_url, SERVICE__DRAIN_SECONDS="600") as service:
        told = [line.strip() for line in service.lines if line.startswith("llmkeep: ")]
        assert told[0] == "llmkeep: model openai:gpt-5-mini since OPENAI_API_KEY is set"
        assert told[1] == f"llmkeep: data in {tmp_path / 'data'}"
        assert "page" in told[2]
        assert told[3] == f"llmkeep: {service.address}"
        async with (
            Client(service.address) as client,
            client.post(run_input("t", "hi")) as stream,
        ):
            await stream.until("TEXT_MESSAGE_CONTENT")
            service.interrupt()
            while (await client.http.get("/readyz")).status_code != 503:
                pass
            service.interrupt()
            with pytest.raises(httpx.TransportError):
                await stream.rest()
        assert service.wait() == -signal.SIGTERM


def test_it_ends_in_order_where_nobody_reads_what_it_prints(tmp_path: Path) -> None:
    """As behind `llmkeep serve | head -4`: the signal that ends it tells nobody, and still does."""
    command = [sys.executable, "-m", "llmkeep.cli", "serve", "--port", "0"]
    options = ["--data-dir", str(tmp_path / "data"), "--model", "openai:gpt-5-mini"]
    environment = {**os.environ, "OPENAI_API_KEY": "not-a-key"}
    process = subprocess.Popen(
        [*command, *options], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    with process:
        while b"http://" not in process.stdout.readline():
            pass
        process.stdout.close()
        process.terminate()
        assert process.wait(PATIENCE) == 0


async def _until_gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def test_its_options_are_told() -> None:
    """The help names the options and says how it is protected."""
    help_text = (
        CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200", "TERM": "dumb"}).stdout
    )
    for part in ("--host", "--port", "--data-dir", "SERVICE__SIGN_IN"):
        assert part in help_text
