"""GET /, /docs and /openapi.json"""

import re
from typing import Any

import jsonschema
import pytest
from quart import Quart

from handlers import OPERATION
from main import create_app
from tests.api import READER_KEY, Api, serving
from tests.conftest import MakeSettings
from tests.upstream import Upstream

UNDESCRIBED = {
    *("pages.asset", "book.folder", "book.page", "widget.loader", "widget.file"),
    *("admin.page", "admin.folder", "mcp.mcp"),
}
"""Files and pages for browsers, which are not part of the API; and MCP, which describes itself."""


@pytest.fixture
def app(make_settings: MakeSettings) -> Quart:
    return create_app(make_settings())


@pytest.mark.parametrize("path", ["/", "/docs"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_pages_answer(api: Api, path: str, method: str) -> None:
    """Also for HEAD, which Hugging Face Spaces use as a health check."""
    answer = await api.request(method, path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_runs_no_script_but_its_own(api: Api, path: str) -> None:
    answer = await api.get(path)
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script>" not in answer.text
    assert not re.search(r"\son\w+=", answer.text)


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_what_a_page_needs_is_there_and_its_own(api: Api, path: str) -> None:
    """The pages work offline and leak nothing to third parties."""
    html = (await api.get(path)).text
    needed = re.findall(r'(?:<link[^>]+href|src)="([^"]+)"', html)
    links = re.findall(r'<a [^>]*href="([^"]+)"', html)
    assert len(needed) > 1
    for link in [*needed, *(each for each in links if "://" not in each)]:
        assert not link.startswith(("http", "/")), link
        answer = await api.get("/" + link)
        assert answer.status in (200, 503), link  # /health may report a problem


@pytest.mark.parametrize("name", ["page.css", "docs.js"])
async def test_an_asset_has_its_hash_in_its_address(api: Api, name: str) -> None:
    (address,) = re.findall(rf'"(assets/\w+/{name})"', (await api.get("/docs")).text)
    answer = await api.get(f"/{address}", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Encoding"] == "gzip"
    # Of another version of Quire: of no use to the next page
    answer = await api.get(f"/assets/0000/{name}")
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_is_asked_for_again_and_sent_once(api: Api, path: str) -> None:
    first = await api.get(path)
    assert first.headers["Cache-Control"] == "no-cache"
    again = await api.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        *("/assets/../pages.py", "/assets/%2e%2e/pages.py", "/assets/", "/assets/none.js"),
        *("/assets/0/none.js", "/assets/0/%2e%2e/pages.py", "/assets/0/..%2fpages.py"),
        *("/assets/page.css", "/assets/0/widget/x.js", "/assets/0/"),
    ],
)
async def test_the_assets_give_nothing_else(api: Api, path: str) -> None:
    answer = await api.get(path)
    assert answer.status == 404
    assert answer.json()["code"] == "NOT_FOUND"


def test_every_route_is_described(app: Quart) -> None:
    for rule in app.url_map.iter_rules():
        described = getattr(app.view_functions[rule.endpoint], OPERATION, None)
        assert (described is None) == (rule.endpoint in UNDESCRIBED), rule


async def test_every_described_route_is_in_the_document(api: Api) -> None:
    answer = await api.get("/openapi.json")
    assert answer.headers["Content-Type"] == "application/json"
    document = answer.json()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"]
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in api.app.url_map.iter_rules()
        if rule.endpoint not in UNDESCRIBED
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }
    assert routes >= {
        ("/chat", "post"),
        ("/search", "post"),
        ("/search", "get"),
        ("/ingest", "post"),
        ("/ingest/status", "get"),
        ("/health", "get"),
    }


async def test_no_description_names_the_source_code(api: Api) -> None:
    assert not re.findall("`(?:lib[.]|_)[^`]*`", (await api.get("/openapi.json")).text)


async def test_every_reference_leads_somewhere(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()
    names = re.findall(
        r'"\$ref": ?"#/components/schemas/(\w+)"', (await api.get("/openapi.json")).text
    )
    assert names
    assert set(names) <= set(document["components"]["schemas"])
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


async def test_operation_ids_are_distinct(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()
    ids = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(set(ids)) == len(ids)


async def test_every_route_says_how_it_fails(api: Api) -> None:
    document = (await api.get("/openapi.json")).json()
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            responses = described["responses"]
            assert "200" in responses, path
            assert "500" in responses, path
            for status, response in responses.items():
                assert response["description"]
                if int(status) >= 400 and path != "/health":
                    schema = response["content"]["application/json"]["schema"]
                    name = "OpenAIError" if path.startswith("/v1/") else "ErrorAnswer"
                    assert schema == {"$ref": f"#/components/schemas/{name}"}, (method, path)


@pytest.fixture
async def validate(api: Api) -> Any:
    document = (await api.get("/openapi.json")).json()

    def check(path: str, value: Any) -> bool:
        schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        whole = {**schema["schema"], "components": document["components"]}
        return jsonschema.Draft202012Validator(whole).is_valid(value)

    return check


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"question": ""},
        {"question": "  "},
        {"question": "x" * 1000},
        {"question": "x" * 1001},
        {"question": "  " + "x" * 1000 + "\n"},
        {"question": "a\0b"},
        {"question": 5},
        {"session_id": ""},
        {"session_id": "x" * 128},
        {"session_id": "x" * 129},
        {"session_id": None},
        {"stream": 1},
        {"context_window": 999},
        {"context_window": 1000},
        {"context_window": 8001},
        {"k": 0},
        {"k": 20},
        {"k": 21},
        {"top_k": 21},
        {"context": {}},
        {"context": {"selectedText": "x" * 5000}},
        {"context": {"selectedText": "x" * 5001}},
        {"api_key": 5},
        {"unknown": 5},
    ],
    ids=lambda fields: str(fields)[:40],
)
async def test_the_document_and_the_route_agree_on_requests(
    api: Api, validate: Any, fields: dict[str, Any]
) -> None:
    body = {"question": "tide", "stream": False} | fields
    answer = await api.post("/chat", body)
    assert validate("/chat", body) is (answer.status == 200), answer.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/ingest", {}),
        ("/ingest", {"batch_size": 1000, "force_reindex": True, "content_path": "guide"}),
        ("/search", {"query": "tide", "k": 50, "file_path": "index.md"}),
    ],
)
async def test_the_document_knows_the_contract_s_requests(
    validate: Any, path: str, body: dict[str, Any]
) -> None:
    assert validate(path, body)
    assert not validate(path, body | {"batch_size": 0, "k": 0})


async def test_the_pages_spend_no_quota(make_settings: MakeSettings, upstream: Upstream) -> None:
    async with serving(make_settings(openai_base_url=upstream.base_url)) as api:
        for _ in range(30):
            assert (await api.get("/")).status == 200
        answer = await api.ask("tide", headers={"X-API-Key": READER_KEY})
        assert answer.status == 200
