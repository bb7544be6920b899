"""The table of providers: where each class is, what it reads, and who may share an instance.

Where a scope is `LOOP`, the reason names what the class keeps to itself; where it is `PROCESS`,
what makes that safe. `LOOP` is the answer for everything that has not been looked at: it is always
right, and costs one instance per event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from langchain_core.language_models import BaseChatModel

from llmkeep.core import Scope

from .adapters import Adapter, Kept
from .anthropic_adapter import AnthropicAdapter
from .http_clients import KEEPALIVE_VARIABLES
from .openai_adapter import HttpClientAdapter, OpenAIAdapter

_OURS: Final = "its HTTP clients are ours, and keep the connections of each loop apart"
_OWN_HTTPX: Final = "makes its own httpx.AsyncClient, whose connections belong to one loop"
_UNKNOWN: Final = "takes no HTTP client that is known of"

#: Read by every chat model class, and by every HTTP client.
_COMMON: Final[dict[str, str | None]] = {
    "LC_OUTPUT_VERSION": "output_version",
    **dict.fromkeys(Adapter.HTTP_VARIABLES),
}
_OPENAI_SDK: Final[dict[str, str | None]] = {
    "OPENAI_ORG_ID": "openai_organization",
    "OPENAI_ORGANIZATION": "openai_organization",
    "OPENAI_PROJECT_ID": None,
    "OPENAI_ADMIN_KEY": None,
    "OPENAI_CUSTOM_HEADERS": None,
    "OPENAI_PROXY": "openai_proxy",
    "LANGCHAIN_OPENAI_STREAM_CHUNK_TIMEOUT_S": "stream_chunk_timeout",
    **_COMMON,
}
_OPENAI: Final[dict[str, str | None]] = {
    "OPENAI_API_KEY": "openai_api_key",
    "LANGSMITH_GATEWAY_API_KEY": "openai_api_key",
    "LANGSMITH_API_KEY": "openai_api_key",
    "OPENAI_API_BASE": "openai_api_base",
    "OPENAI_BASE_URL": "openai_api_base",
    "LANGSMITH_GATEWAY": "openai_api_base",
    **dict.fromkeys(KEEPALIVE_VARIABLES),
    **_OPENAI_SDK,
}
_ANTHROPIC: Final[dict[str, str | None]] = {
    "ANTHROPIC_API_KEY": "anthropic_api_key",
    "LANGSMITH_GATEWAY_API_KEY": "anthropic_api_key",
    "LANGSMITH_API_KEY": "anthropic_api_key",
    "ANTHROPIC_API_URL": "anthropic_api_url",
    "ANTHROPIC_BASE_URL": "anthropic_api_url",
    "LANGSMITH_GATEWAY": "anthropic_api_url",
    "ANTHROPIC_PROXY": "anthropic_proxy",
    "ANTHROPIC_CUSTOM_HEADERS": None,
    **_COMMON,
}
_AZURE: Final[dict[str, str | None]] = {
    "AZURE_OPENAI_API_KEY": "openai_api_key",
    "OPENAI_API_KEY": "openai_api_key",
    "AZURE_OPENAI_AD_TOKEN": "azure_ad_token",
    "AZURE_OPENAI_ENDPOINT": "azure_endpoint",
    "OPENAI_API_VERSION": "openai_api_version",
    "OPENAI_API_TYPE": "openai_api_type",
    "AZURE_CLIENT_ID": None,
    "AZURE_TENANT_ID": None,
    "AZURE_FEDERATED_TOKEN_FILE": None,
    "AZURE_AUTHORITY_HOST": None,
    **dict.fromkeys(KEEPALIVE_VARIABLES),
    **_OPENAI_SDK,
}
_AWS: Final[dict[str, str | None]] = dict.fromkeys(
    (
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
        "AWS_CA_BUNDLE",
    )
)
_AWS_READS: Final = frozenset({"profile", "disable_streaming", "custom_get_token_ids"})
_GOOGLE: Final[dict[str, str | None]] = dict.fromkeys(
    (
        "GOOGLE_GENAI_USE_VERTEXAI",
        "GOOGLE_CLOUD_PROJECT",
        "GOOGLE_CLOUD_LOCATION",
        "GOOGLE_APPLICATION_CREDENTIALS",
        "GOOGLE_GEMINI_BASE_URL",
        "GOOGLE_VERTEX_BASE_URL",
    )
)


@dataclass(frozen=True)
class _HuggingFaceAdapter(Adapter):
    """`ChatHuggingFace`, which is made by a class method."""

    def construct(self, arguments: dict[str, Any]) -> Kept:
        made: Any = self.model_class()
        return Kept(made.from_model_id(**arguments))


@dataclass(frozen=True)
class _LangSmithAdapter(OpenAIAdapter):
    """LangSmith's gateway, which `init_chat_model` knows how to reach."""

    def make(self, arguments: dict[str, Any]) -> BaseChatModel:
        from langchain.chat_models import init_chat_model

        model: BaseChatModel = init_chat_model(model_provider="langsmith", **arguments)
        return model


@dataclass(frozen=True)
class _LocalAdapter(Adapter):
    """A model in this process, which is its own client."""

    def construct(self, arguments: dict[str, Any]) -> Kept:
        model = self.make(arguments)
        return Kept(model, (model,))

    def open(self, kept: Kept) -> None:
        """Load the weights: constructing has only looked at the file."""
        model: Any = kept.model
        model.load()


def _keyed(variable: str, field: str, **more: str | None) -> dict[str, str | None]:
    return {variable: field, **more, **_COMMON}


TABLE: Final = (
    OpenAIAdapter(
        "openai",
        "langchain_openai:ChatOpenAI",
        "llmkeep[openai]",
        Scope.PROCESS,
        _OURS,
        _OPENAI,
        key="openai_api_key",
    ),
    AnthropicAdapter(
        "anthropic",
        "langchain_anthropic:ChatAnthropic",
        "llmkeep[anthropic]",
        Scope.PROCESS,
        _OURS,
        _ANTHROPIC,
        key="anthropic_api_key",
        leased=("get_num_tokens_from_messages",),
        sealed=("_client", "_async_client", "_client_params"),
    ),
    _LocalAdapter(
        "local",
        "llmkeep.models.local:ChatLocal",
        "llmkeep[local]",
        Scope.exclusive(1),
        "llama.cpp must not be called concurrently",
        {"LLMKEEP_LOCAL_MODEL": "model", "LC_OUTPUT_VERSION": "output_version"},
        sealed=("load", "close", "loaded"),
        on_the_wire=frozenset(),
    ),
    OpenAIAdapter(
        "azure_openai",
        "langchain_openai:AzureChatOpenAI",
        "llmkeep[openai]",
        Scope.PROCESS,
        _OURS,
        _AZURE,
    ),
    _LangSmithAdapter(
        "langsmith",
        "langchain_openai:ChatOpenAI",
        "llmkeep[openai]",
        Scope.PROCESS,
        _OURS,
        _OPENAI,
        key="openai_api_key",
    ),
    HttpClientAdapter(
        "deepseek",
        "langchain_deepseek:ChatDeepSeek",
        "langchain-deepseek",
        Scope.PROCESS,
        _OURS,
        {"DEEPSEEK_API_KEY": "api_key", "DEEPSEEK_API_BASE": "api_base", **_OPENAI_SDK},
        key="api_key",
    ),
    HttpClientAdapter(
        "xai",
        "langchain_xai:ChatXAI",
        "langchain-xai",
        Scope.PROCESS,
        _OURS,
        {"XAI_API_KEY": "xai_api_key", "XAI_API_BASE": "xai_api_base", **_OPENAI_SDK},
        key="xai_api_key",
    ),
    HttpClientAdapter(
        "together",
        "langchain_together:ChatTogether",
        "langchain-together",
        Scope.PROCESS,
        _OURS,
        {
            "TOGETHER_API_KEY": "together_api_key",
            "TOGETHER_API_BASE": "together_api_base",
            **_OPENAI_SDK,
        },
        key="together_api_key",
    ),
    HttpClientAdapter(
        "groq",
        "langchain_groq:ChatGroq",
        "langchain-groq",
        Scope.PROCESS,
        _OURS,
        _keyed(
            "GROQ_API_KEY",
            "groq_api_key",
            GROQ_API_BASE="groq_api_base",
            GROQ_BASE_URL="groq_api_base",
            GROQ_PROXY="groq_proxy",
        ),
        key="groq_api_key",
        sdk="groq",
    ),
    Adapter(
        "ollama",
        "langchain_ollama:ChatOllama",
        "langchain-ollama",
        Scope.LOOP,
        _OWN_HTTPX,
        {"OLLAMA_HOST": "base_url", "OLLAMA_API_KEY": None, **_COMMON},
    ),
    Adapter(
        "mistralai",
        "langchain_mistralai:ChatMistralAI",
        "langchain-mistralai",
        Scope.LOOP,
        _OWN_HTTPX,
        _keyed("MISTRAL_API_KEY", "mistral_api_key", MISTRAL_BASE_URL="endpoint"),
        key="mistral_api_key",
    ),
    Adapter(
        "google_genai",
        "langchain_google_genai:ChatGoogleGenerativeAI",
        "langchain-google-genai",
        Scope.LOOP,
        "google-genai keeps an aiohttp or httpx session of the loop that used it first",
        _keyed("GOOGLE_API_KEY", "google_api_key", GEMINI_API_KEY="google_api_key", **_GOOGLE),
    ),
    Adapter(
        "google_vertexai",
        "langchain_google_vertexai:ChatVertexAI",
        "langchain-google-vertexai",
        Scope.LOOP,
        "its asynchronous gRPC channel belongs to one loop",
        {**_GOOGLE, **_COMMON},
    ),
    Adapter(
        "google_anthropic_vertex",
        "langchain_google_vertexai.model_garden:ChatAnthropicVertex",
        "langchain-google-vertexai",
        Scope.LOOP,
        _OWN_HTTPX,
        {**_GOOGLE, **_COMMON},
    ),
    *(
        Adapter(
            provider,
            f"langchain_aws:{name}",
            "langchain-aws",
            Scope.PROCESS,
            "synchronous; boto3's documentation calls its clients thread safe",
            {**_AWS, **_COMMON},
            on_the_wire=_AWS_READS,
        )
        for provider, name in (
            ("bedrock", "ChatBedrock"),
            ("bedrock_converse", "ChatBedrockConverse"),
        )
    ),
    *(
        Adapter(
            provider,
            f"langchain_aws:{name}",
            package,
            Scope.LOOP,
            _OWN_HTTPX,
            {**_AWS, **_COMMON},
            on_the_wire=_AWS_READS,
        )
        for provider, name, package in (
            ("anthropic_bedrock", "ChatAnthropicBedrock", "langchain-aws[anthropic]"),
            ("bedrock_mantle_anthropic", "ChatAnthropicMantle", "langchain-aws[anthropic]"),
            ("bedrock_mantle_openai", "ChatOpenAIMantle", "langchain-aws[openai]"),
        )
    ),
    Adapter(
        "cohere",
        "langchain_cohere:ChatCohere",
        "langchain-cohere",
        Scope.LOOP,
        _OWN_HTTPX,
        _keyed("COHERE_API_KEY", "cohere_api_key", CO_API_KEY="cohere_api_key", CO_API_URL=None),
        key="cohere_api_key",
    ),
    Adapter(
        "fireworks",
        "langchain_fireworks:ChatFireworks",
        "langchain-fireworks",
        Scope.LOOP,
        _OWN_HTTPX,
        _keyed(
            "FIREWORKS_API_KEY",
            "fireworks_api_key",
            FIREWORKS_API_BASE="fireworks_api_base",
            FIREWORKS_BASE_URL="fireworks_api_base",
        ),
        key="fireworks_api_key",
    ),
    Adapter(
        "openrouter",
        "langchain_openrouter:ChatOpenRouter",
        "langchain-openrouter",
        Scope.LOOP,
        _OWN_HTTPX,
        _keyed(
            "OPENROUTER_API_KEY",
            "openrouter_api_key",
            OPENROUTER_API_BASE="openrouter_api_base",
            OPENROUTER_APP_URL="app_url",
            OPENROUTER_APP_TITLE="app_title",
            OPENROUTER_SESSION_ID="session_id",
        ),
        key="openrouter_api_key",
    ),
    Adapter(
        "perplexity",
        "langchain_perplexity:ChatPerplexity",
        "langchain-perplexity",
        Scope.LOOP,
        _OWN_HTTPX,
        _keyed("PPLX_API_KEY", "pplx_api_key", PERPLEXITY_BASE_URL=None),
        key="pplx_api_key",
    ),
    _HuggingFaceAdapter(
        "huggingface",
        "langchain_huggingface:ChatHuggingFace",
        "langchain-huggingface",
        Scope.exclusive(1),
        "by default a transformers pipeline in this process, which is not thread safe",
        {"HUGGINGFACEHUB_API_TOKEN": None, "HF_TOKEN": None, "HF_ENDPOINT": None, **_COMMON},
        model_parameter="model_id",
    ),
    Adapter(
        "ibm",
        "langchain_ibm:ChatWatsonx",
        "langchain-ibm",
        Scope.LOOP,
        _OWN_HTTPX,
        dict.fromkeys(
            f"WATSONX_{name}"
            for name in ("URL", "APIKEY", "TOKEN", "PASSWORD", "USERNAME", "INSTANCE_ID")
        )
        | _COMMON,
        model_parameter="model_id",
    ),
    Adapter(
        "nvidia",
        "langchain_nvidia_ai_endpoints:ChatNVIDIA",
        "langchain-nvidia-ai-endpoints",
        Scope.LOOP,
        "its aiohttp sessions belong to one loop",
        {"NVIDIA_API_KEY": None, "NVIDIA_BASE_URL": None, **_COMMON},
    ),
    *(
        Adapter(provider, path, package, Scope.LOOP, _UNKNOWN, {**environment, **_COMMON})
        for provider, path, package, environment in (
            (
                "azure_ai",
                "langchain_azure_ai.chat_models:AzureAIOpenAIApiChatModel",
                "langchain-azure-ai",
                {**_AZURE, "AZURE_AI_PROJECT_ENDPOINT": None, "AZURE_AI_API_VERSION": None},
            ),
            (
                "baseten",
                "langchain_baseten:ChatBaseten",
                "langchain-baseten",
                {"BASETEN_API_KEY": None},
            ),
            (
                "litellm",
                "langchain_litellm:ChatLiteLLM",
                "langchain-litellm",
                {**_OPENAI, **_ANTHROPIC, **_AZURE, **_AWS, **_GOOGLE},
            ),
            (
                "meta",
                "langchain_meta:ChatMetaModel",
                "langchain-meta",
                {"META_API_KEY": None, "MODEL_API_KEY": None, "LLAMA_API_KEY": None},
            ),
            (
                "upstage",
                "langchain_upstage:ChatUpstage",
                "langchain-upstage",
                {"UPSTAGE_API_KEY": None, **_OPENAI_SDK},
            ),
        )
    ),
)
