"""`llmkeep doctor`: what it finds, what it says to do, and what it never says."""

from __future__ import annotations

import json
import socket
import threading
import time
from pathlib import Path
from typing import Any

from llmkeep.cli import checks, doctor
from llmkeep.cli.data import DATABASE, Kept
from llmkeep.cli.doctor import Finding
from llmkeep.cli.pick import find_server
from llmkeep.settings import settings
from tests.cli.processes import run
from tests.cli.servers import listing, serving


def found(*findings: Finding) -> dict[str, Finding]:
    return {each.name: each for each in findings}


def test_it_tells_what_works_and_never_a_key(data_folder: Path):
    ended = run("doctor", OPENAI_API_KEY="sk-not-to-be-told", GROQ_API_KEY="gsk-nor-this")
    assert ended.returncode == 0
    assert "✓ model            openai:gpt-5-mini since OPENAI_API_KEY is set" in ended.stdout
    assert "GROQ_API_KEY is set, but the package is missing" in ended.stdout
    assert 'pip install "langchain-groq"' in ended.stdout
    assert "not-to-be-told" not in ended.stdout + ended.stderr
    assert "nor-this" not in ended.stdout + ended.stderr
    assert not data_folder.exists()


def test_it_ends_with_1_where_one_cannot_chat():
    ended = run("doctor", "--json", AGENTS__CONVERSATION_HANDLER_DEFAULT_MODEL="openai:gpt-5")
    assert ended.returncode == 1
    told: dict[str, Any] = json.loads(ended.stdout)
    assert told["can_chat"] is False
    assert told["findings"][0]["state"] == "wrong"
    assert "OPENAI_API_KEY" in told["findings"][0]["detail"]


def test_a_wrong_setting_is_told_as_every_finding_is():
    ended = run("doctor", AGENTS__MAX_STEPS="many")
    assert ended.returncode == 1
    assert "✗ environment      AGENTS__MAX_STEPS: " in ended.stdout
    assert ended.stderr == ""


def test_a_server_that_answers_is_found_and_is_told_no_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-told")
    seen: list[dict[str, str]] = []
    with serving(listing("llama3.2"), seen) as port:
        [there] = checks.check_server("Ollama", port)
        assert find_server([("Ollama", port)]) is not None
    [absent] = checks.check_server("vLLM", 1)
    assert (there.state, there.detail) == ("ok", f"llama3.2 at http://127.0.0.1:{port}/v1")
    assert absent.state == "off"
    assert "sk-not" not in str(seen)


def test_a_model_file_is_looked_into(monkeypatch, tmp_path: Path):
    wrong = tmp_path / "model.gguf"
    wrong.write_bytes(b"no model")
    monkeypatch.setenv("LLMKEEP_LOCAL_MODEL", str(wrong))
    assert found(*checks.check_local())["LLMKEEP_LOCAL_MODEL"].state == "wrong"


def test_the_data_folder_is_looked_into(tmp_path: Path):
    import asyncio

    async def make() -> None:
        kept = await Kept.open(tmp_path / "data")
        await kept.conversations.begin("hi")
        await kept.close()

    asyncio.run(make())
    assert (tmp_path / "data" / DATABASE).exists()
    there = found(*checks.check_data(tmp_path / "data"))["folder"]
    assert there.state == "ok"
    assert there.detail.endswith(": 1 conversation, journal mode wal")
    fresh = found(*checks.check_data(tmp_path / "nothing" / "yet"))["folder"]
    assert fresh.state == "ok"
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "data" / DATABASE).write_bytes(b"no database" * 1000)
    assert found(*checks.check_data(tmp_path / "data"))["folder"].state == "wrong"


def test_tool_settings_are_tried(monkeypatch):
    monkeypatch.setattr(settings.agents, "tools", ("nosuch.module:tool",))
    told = found(*checks.check_tools())
    assert told["built in"].state == "ok"
    assert told["AGENTS__TOOLS"].state == "wrong"
    assert "nosuch.module" in told["AGENTS__TOOLS"].detail


def test_servers_of_tools_are_looked_for():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        [there] = checks.check_mcp_server("a", {"url": url})
    [gone] = checks.check_mcp_server("b", {"url": url})
    [absent] = checks.check_mcp_server("c", {"command": "nosuch-program"})
    [program] = checks.check_mcp_server("d", {"command": "python3"})
    assert [each.state for each in (there, gone, absent, program)] == ["ok", "wrong", "wrong", "ok"]


def test_a_check_that_hangs_or_fails_holds_nobody(monkeypatch, capsys):
    """The others are told, and it is told of."""
    monkeypatch.setattr(doctor, "PATIENCE", 0.1)
    release = threading.Event()

    def hangs() -> list[Finding]:
        release.wait()
        return []

    def fails() -> list[Finding]:
        raise OSError("no such thing")

    several = [("a", hangs), ("b", fails), ("c", lambda: [Finding("c", "it", "ok", "fine")])]
    began = time.monotonic()
    told = doctor._in_parallel(several)
    assert time.monotonic() - began < 10
    assert [(each.group, each.state) for each in told] == [
        ("a", "wrong"),
        ("b", "wrong"),
        ("c", "ok"),
    ]
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("doctor"):
            thread.join()
