"""Which provider a name belongs to, what each needs, and what is said when something is missing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
from langchain.chat_models import init_chat_model

from llmkeep.core import Scope
from llmkeep.models import Adapter, MissingExtra, ModelConfigurationError, chat_model, register
from llmkeep.models.provider_table import TABLE
from llmkeep.models.providers import PROVIDERS, find
from tests.models.fakes import fake_adapter

NAMES = [
    *("gpt-5-mini", "o1-mini", "o3", "chatgpt-4o", "text-davinci-003", "GPT-4"),
    *("claude-haiku-4-5", "Claude-x", "command-r", "accounts/fireworks/models/x", "gemini-3"),
    *("amazon.nova", "anthropic.claude", "meta.llama", "mistral-large", "mixtral", "deepseek-r1"),
    *("grok-4", "sonar-pro", "solar-pro"),
]


@pytest.mark.filterwarnings("ignore:Inferred .model_provider:DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_provider_is_inferred_as_init_chat_model_does(name):
    """Both name the same class, or the same missing package."""
    adapter, model = find(name)
    assert model == name
    package = re.split("[.:]", adapter.path)[0]
    if importlib.util.find_spec(package):
        assert adapter.model_class() is type(init_chat_model(name, api_key="any"))
    else:
        with pytest.raises(ImportError, match=package.replace("_", "-")):
            init_chat_model(name)


def test_every_provider_that_init_chat_model_knows_is_in_the_table():
    """Its own error lists them."""
    with pytest.raises(ValueError, match="Supported model providers are: ") as caught:
        init_chat_model("model", model_provider="none-such")
    known = re.findall(r"\w+", str(caught.value).partition("are: ")[2])
    assert len(known) > 25
    assert set(known) - PROVIDERS.keys() == set()


@pytest.mark.parametrize("provider", sorted(PROVIDERS))
def test_every_provider_says_why_its_scope_is_what_it_is(provider):
    """A reason, a class, a package; the variable of a key that is needed."""
    adapter = PROVIDERS[provider]
    assert adapter.reason
    assert re.fullmatch(r"[\w.]+:\w+", adapter.path)
    assert adapter.package
    if adapter.key is not None:
        assert adapter.key in adapter.environment.values()


def test_a_provider_is_named_before_the_colon_or_apart():
    """Dashes and capitals do not count; a colon in a model's name is no provider."""
    assert find("openai:ft:gpt-4o:mine")[1] == "ft:gpt-4o:mine"
    assert find("Azure-OpenAI:x")[0].provider == "azure_openai"
    assert find("x", "azure-openai")[0].provider == "azure_openai"
    assert find("gpt-4o:free")[0].provider == "openai"
    assert find("local:/models/x.gguf")[0].scope.name == Scope.exclusive(1).name


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: chat_model("who:knows"), "no provider known for 'who:knows'.*anthropic, "),
        (lambda: chat_model("x", model_provider="who"), "unknown provider 'who'; known are: "),
        (lambda: chat_model(), 'name a model: chat_model."openai:gpt-5-mini".'),
        (lambda: chat_model("fake:a", config_prefix="x"), "call .configurable_fields"),
        (lambda: chat_model("fake:a", temperature=-1), "fake: Value error, temperature must not"),
        (lambda: chat_model("fake:a", temperature="hot"), "fake: temperature: Input should be"),
    ],
)
def test_a_wrong_call_is_one_clear_line(call, line):
    """It names what to change."""
    with pytest.raises(ModelConfigurationError, match=line) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("openai:gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic:claude-haiku-4-5", "ANTHROPIC_API_KEY"),
        ("fake:a", "FAKE_API_KEY"),
    ],
)
def test_a_missing_key_is_named_at_construction(name, variable, monkeypatch):
    """With the variable to set and the argument to pass."""
    monkeypatch.delenv(variable)
    with pytest.raises(ModelConfigurationError) as caught:
        chat_model(name)
    assert str(caught.value).startswith(f"{name.split(':')[0]}: no API key: set {variable}, or ")
    assert caught.value.__context__ is None
    chat_model(name, api_key="any")


def test_anthropic_takes_a_credential_from_a_header_too(monkeypatch):
    """Then no key is missing."""
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    chat_model("anthropic:x", default_headers={"Authorization": "Bearer x"}, max_tokens=1)
    monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", "x-api-key: y")
    chat_model("anthropic:x", max_tokens=1)


def test_a_missing_package_is_named_with_what_to_install():
    """One line, and an ImportError for those who expect one."""
    register(fake_adapter(path="not_installed_at_all:Chat", package="llmkeep[fake]"))
    with pytest.raises(MissingExtra) as caught:
        chat_model("fake:a")
    assert str(caught.value) == (
        'provider "fake" needs: pip install "llmkeep[fake]" (not_installed_at_all is missing)'
    )
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize("provider", ["mistralai", "bedrock", "google_genai"])
def test_so_it_is_for_the_providers_of_the_table(provider):
    """Their packages are not among what the tests need."""
    with pytest.raises(MissingExtra, match=f'provider "{provider}" needs: pip install "langchain'):
        chat_model("any", model_provider=provider)


def test_an_adapter_can_be_replaced():
    """What was kept under the old one is not used under the new one."""
    register(fake_adapter(leased=("get_num_tokens",)))
    first = chat_model("fake:a")
    register(fake_adapter())
    second = chat_model("fake:a")
    assert isinstance(PROVIDERS["fake"], Adapter)
    assert first.llmkeep_configuration.resolve() is not second.llmkeep_configuration.resolve()


def test_the_documented_table_is_the_table():
    """The page lists every provider with its class, scope and reason, as the code has them."""
    page = Path(__file__).parents[2].joinpath("docs/models.md").read_text()
    rows = page.partition("## Providers")[2].partition("## ")[0].splitlines()
    assert [row for row in rows if row.startswith("| `")] == [
        f"| `{each.provider}` | `{each.path.partition(':')[2]}` | "
        f"{each.scope.name} | {each.reason} |"
        for each in TABLE
    ]
