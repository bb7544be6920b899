"""What LangChain's standard suites are told about our models, and what does not pass, with reasons.

`EXCEPTIONS` is the only place where a test of the suites may be skipped or expected to fail, and
the two hooks hold it to what happens: a skip that it does not name fails, and so does a test that
it names and that passes. `python -m tests.models.standard` prints it for the documentation. Not
here: the suites, which are langchain-tests', and the answers, which are llmock's.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Final, Literal, NamedTuple

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests

from llmkeep.models import chat_model
from llmkeep.models.providers import find
from tests.models.fakes import KeyedStandIn


class Excepted(NamedTuple):
    """Why a test does not pass, and whether the suite skips it or it fails."""

    outcome: Literal["skipped", "fails"]
    reason: str


_NO_CHOICE: Final = Excepted("fails", "a local model is its file: no call can choose another")
_TEXT_ONLY: Final = Excepted("fails", "the model in the box reads text only, and says so")
_NO_AUDIO: Final = Excepted("fails", "the class takes no audio, and says so")

#: By label and test; "*" is every label. Classes as they come have the label of their handles.
EXCEPTIONS: Final[Mapping[tuple[str, str], Excepted]] = {
    ("*", "test_stream_time"): Excepted(
        "skipped", "times a recording of the real provider; `make bench` times a handle"
    ),
    ("anthropic", "test_audio_inputs"): _NO_AUDIO,
    ("local", "test_invoke_with_model_override"): _NO_CHOICE,
    ("local", "test_ainvoke_with_model_override"): _NO_CHOICE,
    ("local", "test_stream_with_model_override"): _NO_CHOICE,
    ("local", "test_astream_with_model_override"): _NO_CHOICE,
    ("local", "test_pdf_inputs"): _TEXT_ONLY,
    ("local", "test_audio_inputs"): _TEXT_ONLY,
    ("local", "test_image_inputs"): _TEXT_ONLY,
    ("local", "test_anthropic_inputs"): _TEXT_ONLY,
    ("local", "test_structured_output_optional_param"): Excepted(
        "fails", "the model in the box finds no end of an argument for this request, and says so"
    ),
    ("local", "test_init_from_env"): Excepted(
        "skipped", "the class has no credential; LLMKEEP_LOCAL_MODEL has a test of its own"
    ),
    ("local", "test_serdes"): Excepted(
        "skipped", "the class is not serializable, which is LangChain's default"
    ),
}


def exception(label: str, *names: str) -> Excepted | None:
    """What is expected of a test that does not pass."""
    keys = itertools.product((label, "*"), names)
    return next((EXCEPTIONS[key] for key in keys if key in EXCEPTIONS), None)


# --- the rules that hold the table to what happens -----------------------------------------------


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """Whatever the table says fails has to fail."""
    for item in items:
        expected = _expected(item)
        if expected is not None and expected.outcome == "fails":
            item.add_marker(pytest.mark.xfail(reason=expected.reason, strict=True))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Whatever is skipped has to be in the table, and what is there as skipped has to be."""
    report = yield
    if report.when != "call" or not hasattr(item.cls, "label"):  # type: ignore[attr-defined]
        return report
    skipped = report.skipped and not hasattr(report, "wasxfail")
    expected = _expected(item)
    named = expected is not None and expected.outcome == "skipped"
    if skipped != named and not report.failed:
        report.outcome = "failed"
        report.longrepr = (
            f"skipped, and EXCEPTIONS has no reason for it: {report.longrepr}"
            if skipped
            else "EXCEPTIONS has a reason to skip it, and it was not skipped"
        )
    return report


def _expected(item: pytest.Item) -> Excepted | None:
    label = getattr(getattr(item, "cls", None), "label", None)
    return label and exception(label, item.name, getattr(item, "originalname", item.name))


# --- the integration suite -----------------------------------------------------------------------

#: What the classes say of the suite's cases, on handles and without.
WARNINGS: Final = (
    "ignore:Received a Pydantic BaseModel V1 schema:UserWarning",
    "ignore:OpenAI may require a filename for file uploads:UserWarning",
    "ignore:Pydantic serializer warnings:UserWarning",
    "ignore:Unrecognized structured output method:UserWarning",
)

JOKE: Final = '{"setup": "Why did the cat sit down?", "punchline": "It was purring."}'

#: What llmock is told to answer where its own choice is not what the suite looks for: calls of
#: tools, with their arguments, or texts. It chooses tools, and arguments from their schema, itself.
ANSWERS: Final[Mapping[str, tuple[str | tuple[str, dict[str, Any]], ...]]] = {
    "test_tool_calling": (("magic_function", {"input": 3}),) * 2,
    "test_tool_calling_async": (("magic_function", {"input": 3}),) * 2,
    "test_unicode_tool_call_integration": (
        ("unicode_customer", {"customer_name": "你好啊集团", "description": "technology"}),
        ("unicode_customer", {"customer_name": "こんにちは株式会社", "description": "company"}),
    ),
    "test_json_mode": (JOKE,) * 4,
}


class Downloaded:
    """What the suite gets for a file that it would fetch from the web: nobody looks inside."""

    content = b"a picture, a page or a sound"


class IntegrationCases(ChatModelIntegrationTests):
    """The integration suite for handles of one adapter, with every optional test switched on."""

    label: ClassVar[str]
    provider: ClassVar[str]
    name: ClassVar[str]
    parameters: ClassVar[dict[str, Any]] = {}

    supports_json_mode = True
    supports_image_inputs = True
    supports_image_urls = True
    supports_pdf_inputs = True
    supports_audio_inputs = True
    supports_image_tool_message = True
    supports_pdf_tool_message = True
    supports_anthropic_inputs = True
    model_override_value = "another-model"

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The class that the handles are instances of."""
        return type(chat_model(f"{self.provider}:{self.name}", **self.parameters))

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """What the suite constructs models with."""
        return {"model": self.name, **self.parameters}

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        """What users write."""
        more = getattr(request, "param", {})
        return chat_model(f"{self.provider}:{self.name}", **self.parameters, **more)

    @pytest.fixture(autouse=True)
    def no_web(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The suite fetches its files nowhere."""
        monkeypatch.setenv("LANGCHAIN_TESTS_USER_AGENT", "nobody")
        monkeypatch.setattr(
            "langchain_tests.integration_tests.chat_models.httpx.get", lambda *_, **__: Downloaded
        )


class ServedCases(IntegrationCases):
    """Those of a provider that llmock stands in for."""

    @pytest.fixture(autouse=True)
    def answers(self, standin: KeyedStandIn, request: pytest.FixtureRequest) -> None:
        """What the provider will say."""
        for answer in ANSWERS.get(request.node.originalname, ()):
            if isinstance(answer, str):
                standin.llm.reply(answer)
            else:
                standin.llm.call_tool(*answer)


class OpenAICases(ServedCases):
    label = provider = "openai"
    name = "gpt-4o-mini"
    # Asked for by itself at OpenAI's own address alone.
    parameters: ClassVar[dict[str, Any]] = {"stream_usage": True}


class OpenAIResponsesCases(ServedCases):
    label = "openai, Responses API"
    provider = "openai"
    name = "gpt-4o-mini"
    parameters: ClassVar[dict[str, Any]] = {"use_responses_api": True}


class AzureCases(ServedCases):
    label = provider = "azure_openai"
    name = "gpt-4o-mini"
    parameters: ClassVar[dict[str, Any]] = {
        "azure_deployment": "gpt-4o-mini",
        "api_version": "2024-10-21",
        "api_key": "azure-key",
    }

    @pytest.fixture(autouse=True)
    def endpoint(self, standin: KeyedStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the deployment is, in the variable that the class reads."""
        monkeypatch.delenv("OPENAI_API_BASE")
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", standin.url)


class LangSmithCases(ServedCases):
    label = provider = "langsmith"
    name = "gpt-4o-mini"

    @pytest.fixture(autouse=True)
    def gateway(self, standin: KeyedStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the gateway is, in the variable that LangChain reads."""
        monkeypatch.delenv("OPENAI_API_BASE")
        monkeypatch.setenv("LANGSMITH_GATEWAY", standin.url)
        monkeypatch.setenv("LANGSMITH_GATEWAY_API_KEY", "gateway-key")


class AnthropicCases(ServedCases):
    label = provider = "anthropic"
    name = "claude-haiku-4-5"
    parameters: ClassVar[dict[str, Any]] = {"max_tokens": 100}


class LocalCases(IntegrationCases):
    label = provider = "local"
    name = "smollm2"
    parameters: ClassVar[dict[str, Any]] = {"context_size": 2048, "max_tokens": 300, "seed": 1}


class Bare:
    """Turns cases for handles into cases for the class that they stand for, as it comes.

    The classes keep their HTTP clients for ever, one pair for each address and time limit: each
    test has a limit of its own, and closes what was made for it.
    """

    provider: ClassVar[str]
    name: ClassVar[str]
    limit: int
    _limits: ClassVar[Iterator[int]] = itertools.count(60)
    sdk_clients: ClassVar[tuple[str, str]] = ("root_client", "root_async_client")

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        """The provider's own class."""
        return find(f"{self.provider}:{self.name}")[0].model_class()

    @property
    def chat_model_params(self) -> dict[str, Any]:
        """What the suite constructs models with, and this test's time limit."""
        return {**super().chat_model_params, "timeout": self.limit}  # type: ignore[misc]

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> BaseChatModel:
        """The provider's own model."""
        return self.chat_model_class(**self.chat_model_params, **getattr(request, "param", {}))

    @pytest.fixture(autouse=True)
    async def closed(self, closed_afterwards: None, answers: None) -> AsyncIterator[None]:
        """Close the HTTP clients of this test, on the loop that it ran on."""
        self.limit = next(self._limits)
        yield
        model = self.chat_model_class(**self.chat_model_params)
        sync_client, async_client = (getattr(model, name) for name in self.sdk_clients)
        sync_client.close()
        await async_client.close()


def table() -> str:
    """`EXCEPTIONS`, as the documentation has it."""
    rows = [
        f"| {'every one' if label == '*' else label} | `{test}` | {each.outcome} | {each.reason} |"
        for (label, test), each in EXCEPTIONS.items()
    ]
    return "\n".join(["| adapter | test | outcome | why |", "|---|---|---|---|", *rows])


if __name__ == "__main__":
    print(table())
