"""What CopilotKit's core, unmodified, makes of the service: it runs agents as its pages do.

It sends the page's own tools with every run, carries on by itself where a call is left without a
result, and stops by closing the connection. assistant-ui's AG-UI runtime carries the
same client and cannot be installed as it is published; what it sends has the same shape.
"""

from __future__ import annotations

from tests.service.protocol.remote import Remote
from tests.support.scripted import Scripted
from tests.support.scripted_wire import Call, Gate, Text
from tests.support.service_client import Client


async def test_a_conversation_with_a_tool(copilotkit: Remote, url: str, provider: Scripted):
    """A call that the server answered is left alone, and the next message is one new run."""
    agent = await copilotkit.agent(url)
    provider.say(Text("Let me see."), Call(0, "c1", "calculator", '{"expression": "6*7"}'))
    provider.say(Text("It is 42."))

    run = await agent.run("what is 6*7?")

    assert run.failed is None
    assert run.kinds[-1] == "RUN_FINISHED"
    assert run.calls == {"c1": {"expression": "6*7"}}
    provider.say(Text("43"))
    assert (await agent.run("and one more?")).text == "43"
    assert len(provider.asked) == 3
    said = [m["content"] for m in provider.asked[-1].messages if m["role"] == "user"]
    assert said == ["what is 6*7?", "and one more?"]


async def test_stop_stops(copilotkit: Remote, url: str, provider: Scripted, client: Client):
    """The provider is let go, what was said is kept, and the next message is answered."""
    agent = await copilotkit.agent(url)
    provider.say(Text("Once upon"), gate := Gate(), Text(" a time"))
    await agent.say("tell me")
    run = await agent.start()
    await agent.until(run, "TEXT_MESSAGE_CONTENT")
    await gate.reached.come()

    await agent.abort()
    await agent.settle(run)
    await provider.asked[0].dropped.come()

    provider.say(Text("fine"))
    assert (await agent.run("and now?")).text == "fine"
    contents = [m["content"] for m in await client.messages(agent.thread_id)]
    assert contents == ["tell me", "Once upon", "and now?", "fine"]


async def test_a_call_that_waits_for_approval_is_not_answered_by_the_page(
    copilotkit: Remote, url: str, provider: Scripted
):
    """It is no tool of the page's, so nothing is run there, and no second run begins."""
    agent = await copilotkit.agent(url)
    provider.say(Call(0, "c1", "ask_first", '{"text": "hello"}'))

    run = await agent.run("say hello")

    assert run.failed is None
    assert run.outcome == "interrupt"
    assert len(provider.asked) == 1


async def test_a_tool_of_the_page_is_refused_and_not_half_taken(
    copilotkit: Remote, url: str, provider: Scripted
):
    """The server's tools are the model's; a page that offers its own is told so."""
    agent = await copilotkit.agent(url, tools=True)

    run = await agent.run("paint it")

    assert run.failed is not None
    assert "422" in run.failed
    assert "tools" in run.failed
    assert provider.asked == []
