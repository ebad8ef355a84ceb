"""What a gateway says of one object: where each shard is, how it is, and how many nodes may still be lost."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shardd.contract.blobs import NodeId
from tests.s3d.live import Live, gateway

BODY = bytes(range(256)) * 4_000
KEY = "a key/with ö+&=?"


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Live]:
    async with gateway(tmp_path) as made:
        await made.ok("PUT", "/bucket")
        await made.ok("PUT", f"/bucket/{KEY}", BODY)
        yield made


async def explained(live: Live, **asked: str) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, value in sorted(asked.items()))
    answer = await live.ok("GET", "/-/admin/explain", query=query)
    return dict(json.loads(answer.body))


async def object_of(live: Live, **asked: str) -> dict[str, Any]:
    await live.ok("PUT", "/bucket/plain", BODY)
    return await explained(live, bucket="bucket", key="plain", **asked)


def states(facts: dict[str, Any]) -> list[str]:
    return [shard["state"] for shard in facts["blobs"][0]["shards"]]


async def test_a_whole_object_survives_two_losses(live: Live) -> None:
    facts = await object_of(live, read="1")
    assert (facts["size"], facts["losses"], facts["blobs_left_out"]) == (len(BODY), 2, 0)
    (blob,) = facts["blobs"]
    assert (blob["k"], blob["m"], blob["codec"], blob["references"]) == (3, 2, "isal", 1)
    assert sorted(shard["node"] for shard in blob["shards"]) == [1, 2, 3, 4, 5]
    assert all(shard["stored_bytes"] * 3 >= len(BODY) for shard in blob["shards"])
    assert states(facts) == ["ok"] * 5


async def test_each_fault_has_its_name_and_its_price(live: Live) -> None:
    facts = await object_of(live)
    places = [(NodeId(shard["node"]), shard["shard"]) for shard in facts["blobs"][0]["shards"]]
    blob = bytes.fromhex(facts["blobs"][0]["blob"])
    gone, cut, rotten = ((live.nodes[node], shard) for node, shard in places[:3])
    del gone[0].stored[blob, gone[1]]
    facts = await explained(live, bucket="bucket", key="plain")
    assert (states(facts), facts["losses"]) == (["missing", *["ok"] * 4], 1)
    rotten[0].flip(blob, rotten[1], at=5)
    assert (await explained(live, bucket="bucket", key="plain"))["losses"] == 1
    facts = await explained(live, bucket="bucket", key="plain", read="1")
    assert (states(facts), facts["losses"]) == (["missing", "ok", "damaged", "ok", "ok"], 0)
    message, data = cut[0].stored[blob, cut[1]][0]
    cut[0].stored[blob, cut[1]] = {1: (message, data)}
    facts = await explained(live, bucket="bucket", key="plain", read="1")
    assert (states(facts)[1], facts["losses"]) == ("incomplete", -1)
    live.nodes[places[3][0]].dead = True
    assert states(await explained(live, bucket="bucket", key="plain"))[3] == "unreachable"


async def test_each_part_of_a_large_object_is_looked_at(live: Live) -> None:
    begun = await live.ok("POST", "/bucket/parts", query="uploads=")
    upload = begun.text("UploadId")
    etags = []
    for number in (1, 2):
        part = await live.ok(
            "PUT", "/bucket/parts", bytes(5 << 20), query=f"partNumber={number}&uploadId={upload}"
        )
        etags.append(part.headers["etag"])
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    )
    body = f"<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>".encode()
    await live.ok("POST", "/bucket/parts", body, query=f"uploadId={upload}")
    facts = await explained(live, bucket="bucket", key="parts", read="1")
    assert [(blob["part"], blob["losses"]) for blob in facts["blobs"]] == [(1, 2), (2, 2)]
    second = bytes.fromhex(facts["blobs"][1]["blob"])
    holder = facts["blobs"][1]["shards"][4]
    del live.nodes[NodeId(holder["node"])].stored[second, holder["shard"]]
    assert (await explained(live, bucket="bucket", key="parts"))["losses"] == 1


async def test_what_is_not_there_and_who_may_not_ask(live: Live) -> None:
    for query, code in (
        ("bucket=absent&key=k", "NoSuchBucket"),
        ("bucket=bucket&key=absent", "NoSuchKey"),
        ("", "NoSuchKey"),
        (f"bucket={'b' * 2_000}&key=k", "NoSuchBucket"),
        (f"bucket=bucket&key={'k' * 2_000}", "NoSuchKey"),
        ("bucket=bucket&key=k&version=none", "NoSuchKey"),
    ):
        assert (await live.ask("GET", "/-/admin/explain", query=query)).code == code
    query = "bucket=bucket&key=plain"
    for key in ("", "AKREADER"):
        assert (await live.ask("GET", "/-/admin/explain", query=query, key=key)).code == "AccessDenied"
    versions = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    await live.ok("PUT", "/bucket", versions, query="versioning=")
    await live.ok("PUT", "/bucket/plain", BODY)
    marker = await live.ok("DELETE", "/bucket/plain")
    deleted = await live.ask("GET", "/-/admin/explain", query=query)
    assert deleted.code == "NoSuchKey" and b"newest version is a delete marker" in deleted.body
    asked = f"{query}&version={marker.headers['x-amz-version-id']}"
    assert (await live.ask("GET", "/-/admin/explain", query=asked)).code == "MethodNotAllowed"
