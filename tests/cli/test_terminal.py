"""`llmkeep chat` in a terminal, as a person sees it."""

from __future__ import annotations

from tests.cli.emulator import terminal


def test_a_conversation_in_a_terminal(llmock):
    """A call is a box, an answer is markdown, and the next message knows of both."""
    llmock.call_tool("calculator", {"expression": "6 * 7"}).reply("It is **42**.")
    with terminal() as it:
        it.until_prompt()
        it.enter("6 * 7?")
        it.until("It is 42")
        it.until_prompt()
        llmock.reply("You did.")
        it.enter("did I ask?")
        it.until("You did.")
        it.until_prompt()
        assert it.end() == 0
        shown = it.text
    assert "Talking with openai:gpt-5-mini" in shown
    assert 'expression="6 * 7"' in shown
    assert "6 * 7?" in str(llmock.requests[-1].body)


def test_ctrl_c_stops_the_answer_and_not_the_program(llmock):
    """Ctrl-C stops the answer, whose connection goes, and the conversation goes on."""
    llmock.reply("one two three four five six").stall(after_chunks=5, seconds=60)
    with terminal() as it:
        it.until_prompt()
        it.enter("talk")
        it.until("one two")
        it.interrupt()
        it.until("stopped")
        it.until_prompt()
        llmock.reply("Here.")
        it.enter("still there?")
        it.until("Here.")
        it.until_prompt()
        assert it.end() == 0
    first, second = llmock.requests
    assert not first.completed
    assert first.duration < 30
    assert second.completed


def test_an_error_in_a_terminal_is_a_line_and_the_conversation_goes_on(llmock):
    llmock.fail(404, message="no such model")
    with terminal() as it:
        it.until_prompt()
        it.enter("hi")
        it.until("error: the provider answered HTTP 404")
        it.until_prompt()
        llmock.reply("Fine.")
        it.enter("hi")
        it.until("Fine.")
        it.until_prompt()
        assert it.end() == 0
