"""The page's files, and what is answered where there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from llmkeep.service.api.page import Page
from llmkeep.service.api.problems import add_problems
from tests.service.api.serving import address_of, served


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A page as a build leaves it."""
    (tmp_path / "static" / "assets").mkdir(parents=True)
    (tmp_path / "static" / "index.html").write_text("<title>the page</title>")
    (tmp_path / "static" / "theme.js").write_text("1")
    (tmp_path / "static" / "assets" / "index-abc.js").write_text("2")
    (tmp_path / "secret.txt").write_text("not for you")
    return tmp_path / "static"


@pytest.fixture
async def client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(folder) as client:
        yield client


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with _client(tmp_path / "none") as client:
        yield client


@asynccontextmanager
async def _client(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(redirect_slashes=False)

    @app.get("/api/there")
    async def there() -> None:
        return None

    app.router.default = Page(folder)
    add_problems(app)
    async with (
        served(app) as server,
        httpx.AsyncClient(base_url=address_of(server), trust_env=False) as client,
    ):
        yield client


async def test_the_document_is_at_every_address_of_the_page(client: httpx.AsyncClient) -> None:
    """The page reads its address itself; the document is asked for again each time."""
    for path in (
        "/",
        "/index.html",
        "/keep",
        "/threads/some-thread",
        "/t/a b",
        "/t/version-1.2",
        "//etc/passwd",
    ):
        answer = await client.get(path_of(client, path))
        assert answer.text == "<title>the page</title>", path
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["cache-control"] == "no-cache"


async def test_files_with_a_hash_are_kept_for_ever(client: httpx.AsyncClient) -> None:
    """What is under assets never changes; other files are asked for again, by their tags."""
    asset = await client.get("/assets/index-abc.js")
    assert (asset.text, asset.headers["cache-control"]) == (
        "2",
        "public, max-age=31536000, immutable",
    )
    assert "javascript" in asset.headers["content-type"]
    theme = await client.get("/theme.js")
    assert (theme.text, theme.headers["cache-control"]) == ("1", "no-cache")
    again = await client.get("/theme.js", headers={"If-None-Match": theme.headers["etag"]})
    assert (again.status_code, again.text) == (304, "")


async def test_what_is_not_there_is_a_problem(client: httpx.AsyncClient) -> None:
    """A file that is not there is no page, an unknown address of the interface neither."""
    for path in (
        "/assets/gone-abc.js",
        "/none.png",
        "/api/none",
        "/api",
        "/api/",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/assets/..%2f..%2fsecret.txt",
        "/..%5csecret.txt",
        "/%00.txt",
    ):
        answer = await client.get(path_of(client, path))
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path
        assert answer.headers["content-type"] == "application/problem+json"


async def test_the_page_is_only_read(client: httpx.AsyncClient) -> None:
    """Other methods are told which there are; a route's too."""
    answer = await client.post("/index.html")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD"
    answer = await client.post("/api/there")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_a_service_without_a_page_says_so(bare: httpx.AsyncClient) -> None:
    """Its address tells how to get one, and everything else is a problem as usual."""
    answer = await bare.get("/")
    assert answer.status_code == 200
    assert "make serve" in answer.text
    for path in ("/keep", "/api/none", "/index.html"):
        answer = await bare.get(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def path_of(client: httpx.AsyncClient, path: str) -> httpx.URL:
    """The address with this path, as it is."""
    return httpx.URL(client.base_url, raw_path=path.replace(" ", "%20").encode())
