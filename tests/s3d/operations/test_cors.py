"""CORS: browsers are told what the bucket's rules say, before a request and with its reply, and nothing else."""

import pytest

from tests.s3d.live import Answer, Live

RULES = """<CORSConfiguration>
<CORSRule><ID>one</ID><AllowedMethod>GET</AllowedMethod><AllowedMethod>HEAD</AllowedMethod>
<AllowedOrigin>https://*.example.com</AllowedOrigin><AllowedHeader>X-Amz-*</AllowedHeader>
<AllowedHeader>range</AllowedHeader><ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule>
<CORSRule><AllowedMethod>PUT</AllowedMethod><AllowedOrigin>*</AllowedOrigin></CORSRule>
</CORSConfiguration>"""
ORIGIN = "https://a.example.com"


@pytest.fixture
async def ruled(live: Live) -> Live:
    await live.ok("PUT", "/bucket", RULES.encode(), query="cors")
    return live


async def preflight(
    live: Live, method: str, *, origin: str = ORIGIN, path: str = "/bucket/key", **more: str
) -> Answer:
    query = more.pop("query", "")
    sent = {"Origin": origin, "Access-Control-Request-Method": method, **more}
    return await live.ask("OPTIONS", path, query=query, headers=sent, key="")


async def test_the_rules_are_kept(ruled: Live) -> None:
    got = await ruled.ok("GET", "/bucket", query="cors")
    assert got.texts("CORSRule/ID") == ["one"]
    assert got.texts("CORSRule/AllowedMethod") == ["GET", "HEAD", "PUT"]
    assert got.texts("CORSRule/AllowedOrigin") == ["https://*.example.com", "*"]
    assert got.texts("CORSRule/AllowedHeader") == ["X-Amz-*", "range"]
    assert got.texts("CORSRule/ExposeHeader") == ["ETag"]
    assert got.texts("CORSRule/MaxAgeSeconds") == ["60"]
    for _ in range(2):
        assert (await ruled.ok("DELETE", "/bucket", query="cors")).status == 204
    absent = await ruled.ask("GET", "/bucket", query="cors")
    assert (absent.status, absent.code) == (404, "NoSuchCORSConfiguration")
    assert (await preflight(ruled, "GET")).code == "AccessForbidden"


async def test_a_preflight_needs_no_signature(ruled: Live) -> None:
    for query in ("", "uploads", "partNumber=1&uploadId=u", "X-Amz-Signature=0"):
        answer = await preflight(ruled, "GET", query=query)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert answer.headers["access-control-allow-methods"] == "GET, HEAD"
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert answer.headers["access-control-expose-headers"] == "ETag"
    assert answer.headers["access-control-max-age"] == "60"
    assert "Origin" in answer.headers["vary"]
    anyone = await preflight(ruled, "PUT", origin="https://elsewhere", path="/bucket")
    assert anyone.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in anyone.headers


@pytest.mark.parametrize(
    ("method", "origin", "asked", "allowed"),
    [
        ("GET", ORIGIN, "x-amz-date, Range", "x-amz-date, range"),
        ("GET", ORIGIN, "x-amz-date, content-type", None),
        ("DELETE", ORIGIN, "", None),
        ("GET", "https://example.com", "", None),
        ("GET", "https://a.example.com.evil", "", None),
        ("GET", "http://a.example.com", "", None),
        ("PUT", ORIGIN, "x-amz-date", None),
    ],
)
async def test_what_a_preflight_allows(
    ruled: Live, method: str, origin: str, asked: str, allowed: str | None
) -> None:
    answer = await preflight(ruled, method, origin=origin, **{"Access-Control-Request-Headers": asked})
    if allowed is None:
        assert (answer.status, answer.code) == (403, "AccessForbidden")
        assert "access-control-allow-origin" not in answer.headers
    else:
        assert (answer.status, answer.headers["access-control-allow-headers"]) == (200, allowed)


async def test_preflights_that_ask_nothing(ruled: Live) -> None:
    for headers in ({}, {"Origin": ORIGIN}, {"Access-Control-Request-Method": "GET"}):
        answer = await ruled.ask("OPTIONS", "/bucket/key", headers=headers, key="")
        assert (answer.status, answer.code) == (400, "BadRequest")
    assert (await preflight(ruled, "GET", path="/absent")).code == "NoSuchBucket"
    assert (await preflight(ruled, "GET", path="/")).code == "MethodNotAllowed"


async def test_replies_and_errors_carry_the_headers(ruled: Live) -> None:
    await ruled.ok("PUT", "/bucket/key", b"body")
    got = await ruled.ok("GET", "/bucket/key", headers={"Origin": ORIGIN})
    assert (got.body, got.headers["access-control-allow-origin"]) == (b"body", ORIGIN)
    absent = await ruled.ask("GET", "/bucket/absent", headers={"Origin": ORIGIN})
    assert (absent.status, absent.headers["access-control-allow-origin"]) == (404, ORIGIN)
    unsigned = await ruled.ask("PUT", "/bucket/key", b"", headers={"Origin": ORIGIN}, key="")
    assert (unsigned.status, unsigned.headers["access-control-allow-origin"]) == (403, "*")
    for headers in ({}, {"Origin": "https://elsewhere"}):
        other = await ruled.ok("GET", "/bucket/key", headers=headers)
        assert "access-control-allow-origin" not in other.headers
    elsewhere = await ruled.ok("GET", "/public", headers={"Origin": ORIGIN})
    assert "access-control-allow-origin" not in elsewhere.headers


def one_rule(*texts: str) -> str:
    return f"<CORSConfiguration><CORSRule>{''.join(texts)}</CORSRule></CORSConfiguration>"


GET, ANY = "<AllowedMethod>GET</AllowedMethod>", "<AllowedOrigin>*</AllowedOrigin>"


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("", "MalformedXML"),
        ("<CORSConfiguration/>", "MalformedXML"),
        ("<Other><CORSRule/></Other>", "MalformedXML"),
        (one_rule(GET), "MalformedXML"),
        (one_rule(ANY), "MalformedXML"),
        (one_rule(GET, ANY, "<MaxAgeSeconds>soon</MaxAgeSeconds>"), "MalformedXML"),
        (one_rule(GET, ANY, f"<ID>{'x' * 256}</ID>"), "MalformedXML"),
        (one_rule(GET, ANY, "<ExposeHeader>a&#13;&#10;b</ExposeHeader>"), "MalformedXML"),
        (one_rule("<AllowedMethod>PATCH</AllowedMethod>", ANY), "InvalidRequest"),
        (one_rule(GET, "<AllowedOrigin>*.*</AllowedOrigin>"), "InvalidRequest"),
        (one_rule(GET, ANY, "<AllowedHeader>**</AllowedHeader>"), "InvalidRequest"),
        (one_rule(GET, ANY, "<ExposeHeader>*</ExposeHeader>"), "InvalidRequest"),
        (
            f"<CORSConfiguration>{f'<CORSRule>{GET}{ANY}</CORSRule>' * 101}</CORSConfiguration>",
            "MalformedXML",
        ),
    ],
)
async def test_rules_that_are_refused(ruled: Live, document: str, code: str) -> None:
    answer = await ruled.ask("PUT", "/bucket", document.encode(), query="cors")
    assert (answer.status, answer.code) == (400, code)
    assert (await ruled.ok("GET", "/bucket", query="cors")).texts("CORSRule/ID") == ["one"]
