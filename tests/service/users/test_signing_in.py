"""Signing in: nobody has to, by a token, by a proxy; where it may be left out; FastAPI's part."""

from __future__ import annotations

import hmac
import json
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from starlette.responses import Response

from llmkeep.service.api.problems import add_problems
from llmkeep.service.records import Principal
from llmkeep.service.users import administrator, check_exposure, make_sign_in, signed_in
from llmkeep.settings import ServiceSettings, SettingsError
from tests.service.users.asking import bearer, connection, refusal
from tests.support.served import served

ANNA, BORIS = "anna-anna-anna-anna", "boris-boris-boris"
TOKENS = {ANNA: {"user": "anna", "administrator": True}, BORIS: {"user": "boris"}}


def configured(mode: str, **settings: Any) -> ServiceSettings:
    return ServiceSettings.model_validate({"sign_in": mode, **settings})


# --- none ----------------------------------------------------------------------------------------


async def test_without_a_way_to_sign_in_everybody_on_this_machine_is_one_user():
    """Who may do everything."""
    local = make_sign_in(configured("none"))
    expected = Principal(user="local", is_administrator=True)
    for server in ("127.0.0.1", "127.0.0.2", "::1", "::ffff:127.0.0.1", "/run/llmkeep.sock"):
        assert await local.user_of(connection(server=server)) == expected


@pytest.mark.parametrize("server", ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "10.0.0.1"])
async def test_whoever_comes_in_from_elsewhere_is_nobody_then(server: str):
    """The application may be served by somebody else's server, at any address."""
    refused = await refusal(make_sign_in(configured("none")), connection(server=server))
    assert "SERVICE__SIGN_IN" in refused.detail


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "chat.example.org", "", "*"])
def test_listening_where_others_reach_it_needs_a_way_to_sign_in(host: str):
    """The refusal names the variable to set."""
    with pytest.raises(SettingsError, match=r"^SERVICE__SIGN_IN: "):
        check_exposure(host, configured("none"))
    check_exposure(host, configured("token"))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]"])
def test_listening_on_this_machine_does_not(host: str):
    """Whatever it is called."""
    check_exposure(host, configured("none"))


# --- token ---------------------------------------------------------------------------------------


async def test_a_token_signs_in_its_holder():
    """With or without the right to administrate."""
    sign_in = make_sign_in(configured("token", tokens=TOKENS))
    assert await sign_in.user_of(bearer(ANNA)) == Principal(user="anna", is_administrator=True)
    assert await sign_in.user_of(bearer(BORIS)) == Principal(user="boris")
    lower = connection(("authorization", f"bearer  {BORIS} "))
    assert await sign_in.user_of(lower) == Principal(user="boris")


async def test_administrators_can_be_named_beside():
    """In the settings of the service, for every way to sign in."""
    sign_in = make_sign_in(configured("token", tokens=TOKENS, administrators=("boris",)))
    assert (await sign_in.user_of(bearer(BORIS))).is_administrator


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("Authorization", ANNA)],
        [("Authorization", f"Basic {ANNA}")],
        [("Authorization", f"Bearer {ANNA}x")],
        [("Authorization", f"Bearer {ANNA[:-1]}")],
        [("Authorization", f"Bearer {ANNA.upper()}")],
        [("Authorization", f"Bearer {ANNA}\xe9")],
        [("Authorization", f"Bearer {ANNA}"), ("Authorization", f"Bearer {BORIS}")],
        [("X-Forwarded-User", "anna")],
    ],
)
async def test_whatever_is_no_token_signs_nobody_in(headers: list[tuple[str, str]]):
    """And is told how to: never by a window of the browser's own."""
    sign_in = make_sign_in(configured("token", tokens=TOKENS))
    assert (await refusal(sign_in, connection(*headers))).status == 401


async def test_tokens_are_compared_in_constant_time(monkeypatch):
    """All of them, as digests: neither the token nor its place in the list can be timed."""
    compared: list[tuple[bytes, bytes]] = []
    original = hmac.compare_digest

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return original(one, other)

    sign_in = make_sign_in(configured("token", tokens=TOKENS))
    monkeypatch.setattr(hmac, "compare_digest", compare)
    await sign_in.user_of(bearer(ANNA))
    await refusal(sign_in, bearer("x" * 40))
    assert len(compared) == 2 * len(TOKENS)
    assert {len(value) for pair in compared for value in pair} == {32}
    assert ANNA.encode() not in {value for pair in compared for value in pair}


async def test_i12_no_token_is_kept():
    """Only digests are: nothing that the sign-in holds has a token in it."""
    import gc

    sign_in = make_sign_in(configured("token", tokens=TOKENS))
    reached: list[object] = [sign_in]
    found: set[int] = set()
    for thing in reached:
        if id(thing) not in found and len(reached) < 1000:
            found.add(id(thing))
            assert thing != ANNA
            assert thing != ANNA.encode()
            if not isinstance(thing, type):
                reached.extend(gc.get_referents(thing))


async def test_tokens_come_from_a_file_too(tmp_path):
    """Beside those of the settings."""
    file = tmp_path / "tokens.json"
    file.write_text(json.dumps({BORIS: {"user": "boris"}}))
    tokens = {ANNA: {"user": "anna"}}
    sign_in = make_sign_in(configured("token", tokens=tokens, tokens_file=file))
    assert (await sign_in.user_of(bearer(ANNA))).user == "anna"
    assert (await sign_in.user_of(bearer(BORIS))).user == "boris"


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"\xff", b'{"hunter2": {"user": "x"}}'])
def test_a_file_that_cannot_be_used_is_refused_at_start(tmp_path, content: bytes | None):
    """By the name of its variable, without what is in it."""
    file = tmp_path / "tokens.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^SERVICE__TOKENS_FILE: ") as refused:
        make_sign_in(configured("token", tokens_file=file))
    assert "hunter2" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_signing_in_by_token_needs_a_token():
    """Else nobody could."""
    with pytest.raises(SettingsError, match=r"^SERVICE__TOKENS: "):
        make_sign_in(configured("token"))


# --- proxy ---------------------------------------------------------------------------------------


async def test_a_trusted_proxy_says_who_somebody_is():
    """From any of its addresses, an IPv4 one also where it comes dressed as IPv6."""
    networks = ("10.1.0.0/16", "2001:db8::/32")
    sign_in = make_sign_in(configured("proxy", proxy_addresses=networks, administrators=("anna",)))
    for peer in ("10.1.2.3", "::ffff:10.1.2.3", "2001:db8::7"):
        named = connection(("X-Forwarded-User", "anna"), peer=peer)
        assert await sign_in.user_of(named) == Principal(user="anna", is_administrator=True)
    named = connection(("x-forwarded-user", "Bj\xc3\xb6rn \xe6\x9d\x8e"), peer="10.1.2.3")
    assert await sign_in.user_of(named) == Principal(user="Björn 李")


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.2.0.1", "::ffff:10.2.0.1", "::1", None, "x"])
async def test_nobody_elses_header_is_believed(peer: str | None):
    """Not even this machine's own, if it is not the proxy; nor what it says of addresses."""
    sign_in = make_sign_in(configured("proxy", proxy_addresses=("10.1.0.0/16",)))
    spoofed = [
        ("X-Forwarded-User", "anna"),
        ("X-Forwarded-For", "10.1.0.1"),
        ("Forwarded", "for=10.1.0.1"),
    ]
    refused = await refusal(sign_in, connection(*spoofed, peer=peer))
    assert "SERVICE__PROXY_ADDRESSES" in refused.detail


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("X-Forwarded-User", "")],
        [("X-Forwarded-User", "x" * 129)],
        [("X-Forwarded-User", "an\tna")],
        [("X-Forwarded-User", "an\x7fna")],
        [("X-Forwarded-User", "\xff")],
        [("X-Forwarded-User", "\xe2\x80\x8b")],
        [("X-Forwarded-User", "anna"), ("X-Forwarded-User", "boris")],
        [("X-User", "anna")],
        [("Authorization", "Bearer anna")],
    ],
)
async def test_a_proxy_names_one_printable_user(headers: list[tuple[str, str]]):
    """Two would be its own and one that a client has sent."""
    sign_in = make_sign_in(configured("proxy", proxy_addresses=("10.1.0.0/16",)))
    refused = await refusal(sign_in, connection(*headers, peer="10.1.0.1"))
    assert "X-Forwarded-User" in refused.detail


def test_signing_in_by_proxy_needs_its_address():
    """Else anybody could be anybody."""
    with pytest.raises(SettingsError, match=r"^SERVICE__PROXY_ADDRESSES: "):
        make_sign_in(configured("proxy"))


def test_a_peers_address_is_the_connections_over_a_real_socket():
    """What a client says of its own address changes nothing."""
    settings = configured("proxy", proxy_addresses=("10.1.0.0/16",))
    with served(application(settings)) as server:
        spoofed = server.get("/me", X_Forwarded_User="anna", X_Forwarded_For="10.1.0.1")
    assert spoofed.status == 401
    with served(application(configured("proxy", proxy_addresses=("127.0.0.1",)))) as server:
        assert server.get("/me", X_Forwarded_User="anna").body == b'"anna"'


# --- FastAPI's part ------------------------------------------------------------------------------


def application(settings: ServiceSettings) -> FastAPI:
    app = FastAPI()
    app.state.sign_in = make_sign_in(settings)
    add_problems(app)

    @app.get("/me")
    async def me(who: Annotated[Principal, Depends(signed_in)]) -> str:
        return who.user

    @app.post("/clear", dependencies=[Depends(administrator)])
    async def clear() -> Response:
        return Response()

    return app


def test_routes_get_their_user_and_refuse_others():
    """401 with a challenge for nobody, 403 for who is no administrator."""
    with served(application(configured("token", tokens=TOKENS))) as server:
        nobody = server.get("/me")
        assert nobody.status == 401
        assert nobody.headers["www-authenticate"] == 'Bearer realm="llmkeep"'
        assert json.loads(nobody.body)["code"] == "unauthorized"
        assert server.get("/me", Authorization=f"Bearer {BORIS}").body == b'"boris"'
        for token, status in {ANNA: 200, BORIS: 403, "x" * 20: 401}.items():
            head = ("POST /clear HTTP/1.1", "Host: x", f"Authorization: Bearer {token}")
            assert server.ask(*head, "Content-Length: 0").status == status
        unknown = server.get("/me", Authorization="Bearer who-is-that-at-all")
        assert 'error="invalid_token"' in unknown.headers["www-authenticate"]
        assert b"who-is-that" not in unknown.body


def test_the_api_description_says_how_to_sign_in():
    """So that generated clients do."""
    described = application(configured("none")).openapi()
    (scheme,) = described["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert described["paths"]["/me"]["get"]["security"]
