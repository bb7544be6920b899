"""LangChain's standard unit suite, on the provider's class and on the handle for it.

Both run the same cases. One case is answered differently, by intent: a bare model shows its API
key to whoever reads the field, a handle does not have it.
"""

from __future__ import annotations

from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core._api import LangChainBetaWarning
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_openai import ChatOpenAI
from langchain_tests.unit_tests import ChatModelUnitTests

from llmkeep.models import chat_model

pytestmark = pytest.mark.filterwarnings(
    # The suite calls `load` and `dict()`, and asks Anthropic for a method that it has not.
    f"ignore::{LangChainBetaWarning.__module__}.{LangChainBetaWarning.__qualname__}",
    "ignore:The method `BaseChatModel.dict` was deprecated",
    "ignore:Unrecognized structured output method:UserWarning",
)


class Cases(ChatModelUnitTests):
    """What both providers' cases share."""

    bare: type[BaseChatModel]

    @pytest.fixture
    def snapshot(self) -> Any:
        """What serialising has to give: that of the bare model, not of a file."""
        model = self.bare(**self.standard_chat_model_params, **self.chat_model_params)
        return lambda name: dumpd(model)

    def secrets(self, field: str) -> dict[str, str]:
        """What the suite may read of the credential."""
        return {field: "api_key"}


def handles(provider: str) -> type[BaseChatModel]:
    """The class that handles of a provider are instances of."""
    return type(chat_model(f"{provider}:any-model", api_key="any"))


class OpenAICases(Cases):
    bare = ChatOpenAI

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "gpt-4o-mini"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        variables = {
            "OPENAI_API_KEY": "api_key",
            "OPENAI_ORG_ID": "org_id",
            "OPENAI_API_BASE": "https://base.example",
            "OPENAI_PROXY": "https://proxy.example",
        }
        expected = {
            "openai_organization": "org_id",
            "openai_api_base": "https://base.example",
            "openai_proxy": "https://proxy.example",
        }
        return variables, {"model": "gpt-4o-mini"}, expected | self.secrets("openai_api_key")


class AnthropicCases(Cases):
    bare = ChatAnthropic

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatAnthropic

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "claude-haiku-4-5"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        variables = {
            "ANTHROPIC_API_KEY": "api_key",
            "ANTHROPIC_API_URL": "https://base.example",
            "ANTHROPIC_PROXY": "https://proxy.example",
        }
        expected = {
            "anthropic_api_url": "https://base.example",
            "anthropic_proxy": "https://proxy.example",
        }
        parameters = {"model": "claude-haiku-4-5"}
        return variables, parameters, expected | self.secrets("anthropic_api_key")


class TestBareOpenAI(OpenAICases):
    pass


class TestBareAnthropic(AnthropicCases):
    pass


class TestOpenAIHandle(OpenAICases):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return handles("openai")

    def secrets(self, field: str) -> dict[str, str]:
        return {}

    def test_the_key_is_not_on_it(self, model: BaseChatModel) -> None:
        """The one difference: reading the key from a handle says where it is."""
        with pytest.raises(AttributeError, match="openai_api_key is not kept on the handle"):
            model.openai_api_key.get_secret_value()  # type: ignore[attr-defined]


class TestAnthropicHandle(AnthropicCases):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return handles("anthropic")

    def secrets(self, field: str) -> dict[str, str]:
        return {}

    def test_the_key_is_not_on_it(self, model: BaseChatModel) -> None:
        """The one difference: reading the key from a handle says where it is."""
        with pytest.raises(AttributeError, match="anthropic_api_key is not kept on the handle"):
            model.anthropic_api_key.get_secret_value()  # type: ignore[attr-defined]
