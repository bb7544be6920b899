"""Listening: how a run hears what its model says and its tools answer, as it happens.

A listener is put on the agent's own model call alone, as a LangChain callback, and hears each
chunk in the task that reads it. So nothing has to be told apart later: a model that a tool asks, or
a summary, is not heard. LangGraph's own stream of messages passes every chunk through its
scheduler, which takes a third of a turn's time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from ag_ui.core import Event, TokenUsage, aggregate_token_usage, token_usage_from_langchain_metadata
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, ToolCall, ToolMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from typing_extensions import override

from .answers import CANCELLED, NOT_STOPPED, answer_to
from .observing import Observe, Step, observed
from .translate import Spent, Translator

T = TypeVar("T")


class Listener(BaseCallbackHandler):
    """The ears of one run; lives as long as it, on its loop.

    Args:
        translator: what makes events of what is heard.
        tell: takes the events.
        provider: whose tokens are counted.
        model: the model's name there.
        observe: entered around each call.
    """

    run_inline = True
    raise_error = True

    def __init__(
        self,
        translator: Translator,
        tell: Callable[[Iterator[Event]], None],
        provider: str,
        model: str,
        observe: Observe,
    ) -> None:
        self._translator: Final = translator
        self._tell: Final = tell
        self._provider: Final = provider
        self._model: Final = model
        self._observe: Final = observe
        self._chunks: list[AIMessageChunk] = []
        self._last: AIMessage | None = None
        self._running: dict[str, bool] = {}
        self._answers: dict[str, ToolMessage] = {}
        self._spent: list[TokenUsage] = []
        #: The calls that an earlier run left waiting for approval, and until when.
        self.waited: Mapping[str, str] = {}
        #: The calls that had begun in an earlier run, which has died.
        self.lost: frozenset[str] = frozenset()
        self._conversation: Mapping[str, int] = {}

    # --- LangChain's callbacks ---------------------------------------------------------------

    @override
    def on_chat_model_start(self, *arguments: Any, **more: Any) -> None:
        self._chunks.clear()

    @override
    def on_llm_new_token(
        self,
        token: str | list[str | dict[str, Any]],
        *,
        chunk: GenerationChunk | ChatGenerationChunk | None = None,
        **more: Any,
    ) -> None:
        if isinstance(chunk, ChatGenerationChunk) and isinstance(chunk.message, AIMessageChunk):
            self._chunks.append(chunk.message)
            self._tell(self._translator.chunk(chunk.message))

    # With these two, langchain-core takes a handler for one that wants a stream.

    def tap_output_aiter(self, run_id: object, output: AsyncIterator[T]) -> AsyncIterator[T]:
        """Let everything pass."""
        return output

    def tap_output_iter(self, run_id: object, output: Iterator[T]) -> Iterator[T]:
        """Let everything pass."""
        return output

    # --- what the middleware tells -----------------------------------------------------------

    def model_call(self) -> AbstractContextManager[Step]:
        """Around each call of the model."""
        return observed(self._observe, Step("model", f"{self._provider}:{self._model}"))

    def tool_call(self, call: ToolCall) -> AbstractContextManager[Step]:
        """Around each call of a tool."""
        return observed(self._observe, Step("tool", call["name"], call["id"] or ""))

    def answered(self, message: AIMessage, conversation: Mapping[str, int]) -> AIMessage:
        """The model has given a whole message; gives the one to store, with the ids it is told by.

        `conversation` is what the whole conversation has spent.
        """
        self._chunks.clear()
        self._last = message = self._translator.named(message)
        self._tell(self._translator.answered(message))
        self._conversation = conversation
        used = token_usage_from_langchain_metadata(
            message.usage_metadata,
            provider=self._provider,
            model=message.response_metadata.get("model_name"),
        )
        if used is not None:
            self._spent.append(used)
        return message

    def began(self, call: ToolCall, *, can_be_stopped: bool) -> None:
        """A tool has been called."""
        self._running[call["id"] or ""] = can_be_stopped

    def ended(self, call: ToolCall, answers: Sequence[ToolMessage]) -> None:
        """The call has ended, with these answers."""
        self._running.pop(call["id"] or "", None)
        self._answers.update((answer.tool_call_id, answer) for answer in answers)
        self._tell(self._translator.results(answers))

    # --- what the run tells and asks ---------------------------------------------------------

    def goes_on(self, waited: Mapping[str, str], lost: frozenset[str]) -> None:
        """The run goes on with a step in which these calls have been waiting, and these lost."""
        self.waited, self.lost = waited, lost

    @property
    def spent(self) -> Spent:
        """The tokens that have been reported."""
        return Spent(aggregate_token_usage(self._spent), self._conversation)

    def answer_for(self, call: ToolCall) -> ToolMessage:
        """The answer to store for a call that has none stored, since the run did not go on."""
        if (told := self._answers.get(call["id"] or "")) is not None:
            return told
        can_be_stopped = self._running.get(call["id"] or "", True)
        return answer_to(call, CANCELLED if can_be_stopped else NOT_STOPPED, "cancelled")

    def not_told(self, answers: Iterable[ToolMessage]) -> list[ToolMessage]:
        """Those that nobody has been told of."""
        return [answer for answer in answers if answer.tool_call_id not in self._answers]

    def unstored(self) -> AIMessage | None:
        """The message that was told last: whole, or of one that was cut what is worth keeping.

        None where that is nothing. It may be stored already.
        """
        if not self._chunks:
            return self._last
        whole = add_ai_message_chunks(self._chunks[0], *self._chunks[1:])
        message = AIMessage(
            str(whole.text), tool_calls=whole.tool_calls, response_metadata=whole.response_metadata
        )
        cut = self._translator.named(message, is_cut=True)
        return cut if str(cut.text).strip() or cut.tool_calls else None
