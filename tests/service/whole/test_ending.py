"""The process ends in order, or is killed; a folder has one owner."""

from __future__ import annotations

import httpx

from tests.support.scripted import Scripted
from tests.support.scripted_signal import PATIENCE
from tests.support.scripted_wire import Call, Gate, Text
from tests.support.service_client import Client, new_id, run_input
from tests.support.service_fixtures import StartService
from tests.support.service_tools import Doors


async def test_sigterm_lets_a_run_end(start_service: StartService, provider: Scripted):
    """Running runs have time; what is asked for meanwhile is refused."""
    service = start_service()
    provider.say(Text("a"), gate := Gate(), Text("b"))
    async with (
        Client(service.address) as client,
        client.post(run_input(new_id("t"), "go")) as stream,
    ):
        await stream.until("TEXT_MESSAGE_CONTENT")
        service.interrupt()
        await refused_from_now_on(client)
        gate.opened.set()
        told = await stream.rest()

    assert told[-1].kind == "RUN_FINISHED"
    assert service.wait() == 0


async def refused_from_now_on(client: Client) -> None:
    """Until the service takes no more runs: by an answer, or by not listening any more."""
    while True:
        try:
            answer = await client.http.get("/readyz")
        except httpx.TransportError:
            return
        if answer.status_code == 503:
            return


async def test_sigterm_ends_what_does_not_end(
    start_service: StartService, provider: Scripted, doors: Doors
):
    """After the deadline runs get a terminal event, tools and the provider are let go."""
    service = start_service(SERVICE__DRAIN_SECONDS="0.2")
    door = new_id("door")
    provider.say(Text("a"), Gate())
    provider.say(Call(0, "c1", "wait_at", f'{{"door": "{door}"}}'))
    in_text, in_tool = run_input(new_id("t"), "text"), run_input(new_id("t"), "tool")
    async with (
        Client(service.address) as client,
        client.post(in_text) as first,
    ):
        await first.until("TEXT_MESSAGE_CONTENT")
        async with client.post(in_tool) as second:
            await second.until("TOOL_CALL_END")
            await doors[door].reached.come()
            service.interrupt()
            for stream in (first, second):
                end = (await stream.rest())[-1]
                assert end.kind == "RUN_ERROR"
                assert end.event["code"] == "shutdown"

    assert service.wait() == 0
    await doors[door].left.come()
    await provider.asked[0].dropped.come()
    service.start()
    provider.say(Text("fine"))
    provider.say(Text("fine"))
    async with Client(service.address) as client:
        for body in (in_text, in_tool):
            run = await client.run(body["threadId"], body["runId"])
            assert (run["status"], run["code"]) == ("interrupted", "shutdown")
            told = await client.ask(body["threadId"], "and now?")
            assert told[-1].kind == "RUN_FINISHED"


async def test_a_run_whose_process_was_killed_in_a_tool_is_told_as_interrupted(
    start_service: StartService, provider: Scripted, doors: Doors
):
    """No finished message is lost, the call is answered, and the conversation goes on."""
    service = start_service()
    door = new_id("door")
    body = run_input(new_id("t"), "go")
    provider.say(Text("First this."), Call(0, "c1", "wait_at", f'{{"door": "{door}"}}'))
    async with Client(service.address) as client, client.post(body) as stream:
        before = await stream.until("TOOL_CALL_END")
        await doors[door].reached.come()
        service.kill()

    service.start()

    async with Client(service.address) as client:
        run = await client.run(body["threadId"], body["runId"])
        assert (run["status"], run["code"]) == ("interrupted", "restart")
        told = await client.replay(body["threadId"], body["runId"])
        assert told[: len(before)] == before
        assert told[-1].kind == "RUN_ERROR"
        assert told[-1].event["code"] == "interrupted"
        messages = await client.messages(body["threadId"])
        assert [m["role"] for m in messages] == ["user", "assistant", "tool"]
        assert messages[1]["content"] == "First this."
        assert messages[1]["status"] == "complete"
        provider.say(Text("fine"))
        assert (await client.ask(body["threadId"], "and now?"))[-1].kind == "RUN_FINISHED"


async def test_a_second_process_on_a_folder_is_refused(start_service: StartService):
    """One owns it; the other ends with a message that names the folder, and harms nothing."""
    service = start_service()

    second = service.process()
    output, _ = second.communicate(timeout=PATIENCE)

    assert second.returncode not in (0, -9)
    assert str(service.folder) in output
    assert "Traceback" not in output
    assert service.get("/healthz") == {"status": "ok"}
