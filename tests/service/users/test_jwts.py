"""Signing in by JSON Web Tokens: what is let in, and each known way to forge one."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from llmkeep.service.errors import Unavailable
from llmkeep.service.records import Principal
from llmkeep.service.users import SignIn, keys, make_sign_in
from llmkeep.settings import ServiceSettings, SettingsError
from tests.service.users.asking import bearer, refusal
from tests.support.served import served

SECRET = "s" * 32
AUDIENCE, ISSUER = "llmkeep", "https://issuer.example.org"


def settings(**more: Any) -> ServiceSettings:
    return ServiceSettings.model_validate(
        {"sign_in": "jwt", "jwt_audience": AUDIENCE, "jwt_issuer": ISSUER, **more}
    )


def by_secret(**more: Any) -> SignIn:
    return make_sign_in(settings(jwt_secret=SECRET, **more))


def claims(**more: Any) -> dict[str, Any]:
    """Valid ones, with these changed; None leaves one out."""
    now = int(time.time())
    valid = {"sub": "anna", "aud": AUDIENCE, "iss": ISSUER, "exp": now + 600}
    return {name: value for name, value in {**valid, **more}.items() if value is not None}


def signed(algorithm: str = "HS256", key: Any = SECRET, kid: str | None = None, **more: Any) -> str:
    headers = {"kid": kid} if kid else None
    return jwt.encode(claims(**more), key, algorithm=algorithm, headers=headers)


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def forged(header: dict[str, Any], payload: dict[str, Any], signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = [json.dumps(header).encode(), json.dumps(payload).encode(), signature]
    return ".".join(map(_encoded, parts))


# --- with a secret -------------------------------------------------------------------------------


async def test_a_valid_token_signs_in_the_user_it_names():
    """By `sub`, or by another claim."""
    assert await by_secret().user_of(bearer(signed())) == Principal(user="anna")
    by_mail = by_secret(jwt_user_claim="email")
    assert (await by_mail.user_of(bearer(signed(email="a@example.org")))).user == "a@example.org"


@pytest.mark.parametrize(
    ("claim", "said", "is_administrator"),
    [
        ("admin", {"admin": True}, True),
        ("admin", {"admin": "true"}, False),
        ("admin", {"admin": 1}, False),
        ("admin", {}, False),
        ("roles=keeper", {"roles": "keeper"}, True),
        ("roles=keeper", {"roles": ["reader", "keeper"]}, True),
        ("roles=keeper", {"roles": "reader keeper"}, True),
        ("roles=keeper", {"roles": ["zookeeper"]}, False),
        ("roles=keeper", {"roles": "zookeeper"}, False),
        ("roles=keeper", {"roles": {"keeper": True}}, False),
        ("roles=keeper", {}, False),
        (None, {"admin": True}, False),
    ],
)
async def test_a_claim_makes_an_administrator(claim, said: dict[str, Any], is_administrator: bool):
    """One that is true, or has a value among others."""
    sign_in = by_secret(jwt_administrator_claim=claim)
    assert (await sign_in.user_of(bearer(signed(**said)))).is_administrator is is_administrator


async def test_administrators_can_be_named_beside():
    """By the name that the token gives."""
    sign_in = by_secret(administrators=("anna",))
    assert (await sign_in.user_of(bearer(signed()))).is_administrator
    assert not (await sign_in.user_of(bearer(signed(sub="boris")))).is_administrator


PAST = -60
FORGERIES: dict[str, Callable[[], str]] = {
    "no signature": lambda: forged({"alg": "none", "typ": "JWT"}, claims()),
    "no signature, in capitals": lambda: forged({"alg": "NONE"}, claims()),
    "no algorithm": lambda: forged({"typ": "JWT"}, claims(), b"x" * 32),
    "no key": lambda: forged({"alg": "HS256"}, claims()),
    "another secret": lambda: signed(key="t" * 32),
    "another algorithm": lambda: signed("HS512", key="s" * 64),
    "expired": lambda: signed(exp=int(time.time()) + PAST),
    "never ending": lambda: signed(exp=None),
    "not yet": lambda: signed(nbf=int(time.time()) + 600),
    "for another": lambda: signed(aud="another"),
    "for nobody": lambda: signed(aud=None),
    "from another": lambda: signed(iss="https://evil.example.org"),
    "from nobody": lambda: signed(iss=None),
    "nobody": lambda: signed(sub=None),
    "an empty name": lambda: signed(sub=""),
    "a long name": lambda: signed(sub="x" * 129),
    "an unprintable name": lambda: signed(sub="an\nna"),
    "not a token": lambda: "anna",
    "three dots": lambda: "...",
    "not ASCII": lambda: "\xe9.\xe9.\xe9",
    "deeply nested": lambda: f"{_encoded(b'[' * 20000 + b']' * 20000)}.e30.eA",
    "an endless end": lambda: signed(exp=float("inf")),
    "a list": lambda: forged({"alg": "HS256"}, [], b"x"),  # type: ignore[arg-type]
    "unknown critical extension": lambda: jwt.encode(
        claims(), SECRET, algorithm="HS256", headers={"crit": ["b64x"], "b64x": 1}
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_signs_nobody_in(forgery: str):
    """Whatever it says of itself."""
    await refusal(by_secret(), bearer(FORGERIES[forgery]()))


async def test_what_can_be_done_is_told():
    """Without what was sent."""
    expired = await refusal(by_secret(), bearer(signed(exp=int(time.time()) - 60)))
    assert "sign in again" in expired.detail
    another = await refusal(by_secret(), bearer(signed(aud="another")))
    assert "SERVICE__JWT_AUDIENCE" in another.detail


# --- with keys -----------------------------------------------------------------------------------

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
NEWER = ec.generate_private_key(ec.SECP256R1())
PUBLIC_PEM = PRIVATE.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
)


class Issuer:
    """Gives its keys out, counts how often, and may be down."""

    def __init__(self) -> None:
        self.keys = [self.public(PRIVATE, "RS256", "first")]
        self.asked = 0
        self.is_down = False
        self.address = ""

    @staticmethod
    def public(private: Any, algorithm: str, key_id: str) -> dict[str, Any]:
        own = jwt.get_algorithm_by_name(algorithm)
        told = own.to_jwk(private.public_key(), as_dict=True)
        return {**told, "kid": key_id, "alg": algorithm, "use": "sig"}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        status = 503 if self.is_down else 200
        body = json.dumps({"keys": self.keys}).encode()
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    issuer = Issuer()
    with served(issuer) as server:
        issuer.address = f"{server.address}/jwks.json"
        yield issuer


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass for the kept keys."""
    now = [1000.0]
    monkeypatch.setattr(
        "llmkeep.service.users.keys.time", SimpleNamespace(monotonic=lambda: now[0])
    )
    return lambda seconds: now.__setitem__(0, now[0] + seconds)


def by_keys(issuer: Issuer, **more: Any) -> SignIn:
    return make_sign_in(settings(jwt_jwks_url=issuer.address, **more))


def of_issuer(**more: Any) -> str:
    return signed("RS256", PRIVATE, "first", **more)


async def test_the_issuers_keys_are_fetched_once(issuer: Issuer):
    """However many come at once, and afterwards from what is kept."""
    import asyncio

    sign_in = by_keys(issuer)
    users = await asyncio.gather(*(sign_in.user_of(bearer(of_issuer())) for _ in range(20)))
    assert {user.user for user in users} == {"anna"}
    assert issuer.asked == 1


def hmac_with(key: bytes) -> str:
    """HS256, by hand: the library refuses to use a public key as a secret."""
    import hashlib
    import hmac

    unsigned = forged({"alg": "HS256", "typ": "JWT", "kid": "first"}, claims()).rpartition(".")[0]
    signature = hmac.new(key, unsigned.encode(), hashlib.sha256).digest()
    return f"{unsigned}.{_encoded(signature)}"


CONFUSIONS: dict[str, Callable[[], str]] = {
    "the public key as a secret": lambda: hmac_with(PUBLIC_PEM),
    "the public key as a secret, without its last line break": lambda: hmac_with(
        PUBLIC_PEM.rstrip()
    ),
    "no signature": lambda: forged({"alg": "none", "kid": "first"}, claims()),
    "a key of its own": lambda: jwt.encode(
        claims(),
        NEWER,
        algorithm="ES256",
        headers={"kid": "first", "jwk": Issuer.public(NEWER, "ES256", "first")},
    ),
    "an address of its own": lambda: jwt.encode(
        claims(), NEWER, algorithm="ES256", headers={"kid": "x", "jku": "http://127.0.0.1:9/"}
    ),
    "another algorithm of the same key": lambda: signed("PS256", PRIVATE, "first"),
    "without the name of a key": lambda: signed("RS256", PRIVATE),
    "expired": lambda: of_issuer(exp=int(time.time()) - 60),
    "for another": lambda: of_issuer(aud="another"),
}


@pytest.mark.parametrize("confusion", CONFUSIONS)
async def test_a_token_does_not_choose_how_it_is_checked(issuer: Issuer, confusion: str):
    """The settings and the issuer's keys do."""
    await refusal(by_keys(issuer), bearer(CONFUSIONS[confusion]()))


async def test_a_new_key_is_found_and_an_unknown_one_is_not_asked_for_each_time(
    issuer: Issuer, clock: Callable[[float], None]
):
    """Else tokens with made-up keys would have the issuer asked as often as somebody likes."""
    sign_in = by_keys(issuer)
    await sign_in.user_of(bearer(of_issuer()))
    clock(keys.COOLDOWN)
    for _ in range(5):
        await refusal(sign_in, bearer(signed("ES256", NEWER, "second")))
    assert issuer.asked == 2
    issuer.keys.append(Issuer.public(NEWER, "ES256", "second"))
    clock(keys.COOLDOWN)
    assert (await sign_in.user_of(bearer(signed("ES256", NEWER, "second")))).user == "anna"
    assert issuer.asked == 3


async def test_a_key_that_is_taken_back_is_forgotten(
    issuer: Issuer, clock: Callable[[float], None]
):
    """At the latest when the keys are fetched again."""
    sign_in = by_keys(issuer)
    await sign_in.user_of(bearer(of_issuer()))
    issuer.keys[:] = [Issuer.public(NEWER, "ES256", "second")]
    clock(keys.LIFESPAN)
    await refusal(sign_in, bearer(of_issuer()))


async def test_an_issuer_that_is_down_takes_nobody_with_it(
    issuer: Issuer, clock: Callable[[float], None]
):
    """Its last keys are used for a while; then it is our answer that nobody can be told apart."""
    sign_in = by_keys(issuer)
    issuer.is_down = True
    for _ in range(3):
        with pytest.raises(Unavailable, match="SERVICE__JWT_JWKS_URL"):
            await sign_in.user_of(bearer(of_issuer()))
    assert issuer.asked == 1
    issuer.is_down = False
    clock(keys.COOLDOWN)
    assert (await sign_in.user_of(bearer(of_issuer()))).user == "anna"
    issuer.is_down = True
    clock(keys.LIFESPAN)
    assert (await sign_in.user_of(bearer(of_issuer()))).user == "anna"
    clock(keys.GRACE)
    with pytest.raises(Unavailable):
        await sign_in.user_of(bearer(of_issuer()))


async def test_nonsense_instead_of_keys_is_an_issuer_that_is_down(issuer: Issuer):
    """It is not our fault, nor the user's."""
    for nonsense in ([], [{"kty": "oct", "k": "eHg", "kid": "first"}], ["x"]):
        issuer.keys = nonsense  # type: ignore[assignment]
        with contextlib.suppress(Unavailable):
            await refusal(by_keys(issuer), bearer(of_issuer()))


# --- what does not fit together ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "given"),
    [
        ("JWT_SECRET", {}),
        ("JWT_SECRET", {"jwt_secret": SECRET, "jwt_jwks_url": "https://keys.example.org"}),
        ("JWT_ALGORITHMS", {"jwt_secret": SECRET, "jwt_algorithms": ("RS256",)}),
        ("JWT_ALGORITHMS", {"jwt_secret": SECRET, "jwt_algorithms": ("HS256", "RS256")}),
        (
            "JWT_ALGORITHMS",
            {"jwt_jwks_url": "https://keys.example.org", "jwt_algorithms": ("RS256", "HS256")},
        ),
        ("JWT_AUDIENCE", {"jwt_jwks_url": "https://keys.example.org", "jwt_audience": None}),
        ("JWT_SECRET", {"jwt_secret": SECRET, "jwt_algorithms": ("HS512",)}),
    ],
)
def test_what_does_not_fit_together_is_refused_at_start(variable: str, given: dict[str, Any]):
    """By the name of the variable to set."""
    with pytest.raises(SettingsError, match=rf"^SERVICE__{variable}: ") as refused:
        make_sign_in(settings(**given))
    assert SECRET not in str(refused.value)
