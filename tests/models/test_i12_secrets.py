"""No credential is readable in anything that llmkeep writes."""

from __future__ import annotations

import copy
import pickle
import traceback
from typing import Any

import pytest
from langchain_core.load import dumps
from pydantic import SecretStr

import llmkeep
from llmkeep.core.events import Event
from llmkeep.models import ModelConfigurationError, chat_model
from llmkeep.models.masking import MASK, masked, scrubbed, secrets_in

PLANTED = "sk-planted-1234567890"

#: Every way that a credential comes into a configuration.
WAYS: dict[str, dict[str, Any]] = {
    "text": {"api_key": PLANTED},
    "secret": {"api_key": SecretStr(PLANTED)},
    "alias": {"openai_api_key": PLANTED},
    "header": {"default_headers": {"X-Innocent": PLANTED}},
    "query": {"default_query": {"api-key": PLANTED}},
    "address": {"base_url": f"https://user:{PLANTED}@host.example/v1"},
    "query of the address": {"base_url": f"https://host.example/v1?api_key={PLANTED}"},
    "proxy": {"openai_proxy": f"http://user:{PLANTED}@proxy.example:1"},
    "nested": {"extra_body": {"tools": [{"authorization": f"Bearer {PLANTED}"}]}},
    "model_kwargs": {"model_kwargs": {"access_token": PLANTED}},
}


@pytest.mark.parametrize("way", WAYS)
def test_i12_nothing_that_shows_a_handle_shows_a_credential(way):
    """Text, serialisation, tracing parameters, pickle, statistics, rows and events."""
    events: list[Event] = []
    unsubscribe = llmkeep.default_cache().subscribe(events.append)
    llm: Any = chat_model("openai:gpt-4o-mini", **WAYS[way])
    configuration = llm.llmkeep_configuration
    llm.invalidate()
    unsubscribe()
    shown = [
        repr(llm),
        str(llm),
        repr(vars(llm)),
        repr(llm.model_dump()),
        dumps(llm),
        repr(llm._identifying_params),
        repr(llm._get_invocation_params()),
        llm._get_llm_string(),
        repr(configuration),
        repr(configuration.resolve()),
        repr(configuration.resolve().spec.key),
        repr(copy.deepcopy(llm)),
        repr(llmkeep.stats()),
        repr(llmkeep.default_cache()),
        repr(llmkeep.default_cache().snapshot()),
        repr(events),
        repr(pickle.dumps(llm)),
    ]
    assert events
    assert [text for text in shown if PLANTED in text] == []


@pytest.mark.parametrize("way", WAYS)
def test_i12_no_error_shows_a_credential(way):
    """A refused configuration is told without what it was given, in the whole chain of errors."""
    with pytest.raises(ModelConfigurationError) as caught:
        chat_model("openai:gpt-4o-mini", n=0, **WAYS[way])
    told = "".join(traceback.format_exception(caught.value))
    assert "openai: " in told
    assert PLANTED not in told
    assert caught.value.__context__ is None
    assert "\n" not in str(caught.value)


def test_i12_a_message_of_the_class_is_told_without_the_credential_it_quotes():
    """The class itself quotes the proxy that it refuses beside a client."""
    with pytest.raises(ModelConfigurationError, match=r"openai_proxy='http://[*]+@") as caught:
        chat_model(
            "openai:gpt-4o-mini",
            http_client=llmkeep_client(),
            openai_proxy=f"http://user:{PLANTED}@proxy.example:1",
        )
    assert PLANTED not in str(caught.value)


def llmkeep_client() -> Any:
    from llmkeep.transports import client

    return client()


def test_i12_what_holds_a_credential_is_not_pickled_beside_the_handle():
    """The sealed parts refuse pickle; the handle goes without its secrets."""
    configuration = chat_model("fake:a").llmkeep_configuration
    for part in (configuration, configuration.resolve()):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(part)


def test_what_a_mask_hides():
    """Names that say so, every header, and what stands in an address."""
    value = {
        "api_key": "a",
        "default_headers": {"any": "b", "other": 1},
        "mcp_servers": [{"url": "https://u:c@h/", "authorization_token": "d"}],
        "max_tokens": 5,
        "prompt_cache_key": "shown",
        "empty_token": "",
        "raw": SecretStr("e"),
        "password": b"f",
    }
    assert repr(masked(value)) == repr(
        {
            "api_key": MASK,
            "default_headers": {"any": MASK, "other": MASK},
            "mcp_servers": [{"url": f"https://{MASK}@h/", "authorization_token": MASK}],
            "max_tokens": 5,
            "prompt_cache_key": "shown",
            "empty_token": "",
            "raw": SecretStr("e"),
            "password": MASK.encode(),
        }
    )
    assert sorted(secrets_in(value)) == ["", "a", "b", "d", "e", "u:c"]
    assert scrubbed("use a, d or u:c", value) == f"us{MASK} {MASK}, {MASK} or {MASK}"
