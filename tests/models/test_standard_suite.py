"""LangChain's standard unit suite, on the provider's class and on the handle for it.

Both run the same cases (but for bare Azure, which makes two TLS contexts each time and takes as
long as all others together). One case is answered differently, by intent: a bare model shows its
API key to whoever reads the field, a handle does not have it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core._api import LangChainBetaWarning
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumpd
from langchain_openai import AzureChatOpenAI, ChatOpenAI
from langchain_tests.unit_tests import ChatModelUnitTests

from llmkeep.models import chat_model
from llmkeep.models.local import ChatLocal

pytestmark = pytest.mark.filterwarnings(
    # The suite calls `load` and `dict()`, and asks Anthropic for a method that it has not.
    f"ignore::{LangChainBetaWarning.__module__}.{LangChainBetaWarning.__qualname__}",
    "ignore:The method `BaseChatModel.dict` was deprecated",
    "ignore:Unrecognized structured output method:UserWarning",
)


class Cases(ChatModelUnitTests):
    """What the cases of all adapters share; what does not pass is in `standard.EXCEPTIONS`."""

    label: ClassVar[str]
    bare: type[BaseChatModel]

    @pytest.fixture
    def snapshot(self) -> Any:
        """What serialising has to give: that of the bare model, not of a file."""
        model = self.bare(**{**self.standard_chat_model_params, **self.chat_model_params})
        return lambda name: dumpd(model)

    def secrets(self, field: str, value: str = "api_key") -> dict[str, str]:
        """What the suite may read of the credential."""
        return {field: value}


def handles(provider: str, model: str = "any-model", **parameters: Any) -> type[BaseChatModel]:
    """The class that handles of a provider are instances of."""
    return type(chat_model(f"{provider}:{model}", **parameters))


class OpenAICases(Cases):
    label = "openai"
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


class AzureCases(Cases):
    label = "azure_openai"
    bare = AzureChatOpenAI

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return AzureChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": "gpt-4o-mini",
            "azure_deployment": "gpt-4o-mini",
            "api_version": "2024-10-21",
            "azure_endpoint": "https://endpoint.example",
            "api_key": "azure-key",
        }

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        variables = {
            "AZURE_OPENAI_API_KEY": "api_key",
            "AZURE_OPENAI_ENDPOINT": "https://endpoint.example",
            "AZURE_OPENAI_AD_TOKEN": "token",
            "OPENAI_ORG_ID": "org_id",
            "OPENAI_API_VERSION": "2024-10-21",
            "OPENAI_API_TYPE": "azure",
        }
        expected = {
            "azure_endpoint": "https://endpoint.example",
            "openai_organization": "org_id",
            "openai_api_version": "2024-10-21",
            "openai_api_type": "azure",
        }
        secrets = {**self.secrets("openai_api_key"), **self.secrets("azure_ad_token", "token")}
        return variables, {"azure_deployment": "gpt-4o-mini"}, expected | secrets


class LocalCases(Cases):
    label = "local"
    bare = ChatLocal

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatLocal

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "smollm2", "context_size": 512}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # It calls nobody, so there is nothing to wait for and nothing to retry.
        usual = super().standard_chat_model_params
        return {name: usual[name] for name in ("temperature", "max_tokens", "stop")}


class AnthropicCases(Cases):
    label = "anthropic"
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


class TestBareLocal(LocalCases):
    pass


class TestLocalHandle(LocalCases):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return handles("local", model="smollm2", context_size=512)


class TestAzureHandle(AzureCases):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return handles("azure_openai", **self.chat_model_params)

    def secrets(self, field: str, value: str = "api_key") -> dict[str, str]:
        return {}

    def test_the_key_is_not_on_it(self, model: BaseChatModel) -> None:
        """The one difference: reading the key from a handle says where it is."""
        with pytest.raises(AttributeError, match="openai_api_key is not kept on the handle"):
            model.openai_api_key.get_secret_value()  # type: ignore[attr-defined]


class TestOpenAIHandle(OpenAICases):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return handles("openai")

    def secrets(self, field: str, value: str = "api_key") -> dict[str, str]:
        return {}

    def test_the_key_is_not_on_it(self, model: BaseChatModel) -> None:
        """The one difference: reading the key from a handle says where it is."""
        with pytest.raises(AttributeError, match="openai_api_key is not kept on the handle"):
            model.openai_api_key.get_secret_value()  # type: ignore[attr-defined]


class TestAnthropicHandle(AnthropicCases):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return handles("anthropic")

    def secrets(self, field: str, value: str = "api_key") -> dict[str, str]:
        return {}

    def test_the_key_is_not_on_it(self, model: BaseChatModel) -> None:
        """The one difference: reading the key from a handle says where it is."""
        with pytest.raises(AttributeError, match="anthropic_api_key is not kept on the handle"):
            model.anthropic_api_key.get_secret_value()  # type: ignore[attr-defined]
