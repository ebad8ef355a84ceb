"""The metadata is lost or damaged: backups come back, damage stops the store and says so, snapshots restore it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cluster import ROOT, Cluster, environment, wait_until

pytestmark = pytest.mark.cluster
SETTINGS = "\n[metadata]\nsnapshot_interval_s = 1.0\nsnapshots_keep = 2\n"
BUCKET = "bucket"
EXIT_DAMAGED = 3
PATIENCE_S = 180.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster.create(tmp_path, nodes=5, together=True, settings=SETTINGS) as made:
        made.start_all()
        # A node that was slow would get its shards later, and others would keep some of them.
        made.wait_healed(deadline_s=PATIENCE_S)
        made.client().create_bucket(Bucket=BUCKET)
        yield made


def ctl(store: Cluster, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "bin/s3ctl"), "-config", str(store.config), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment())


def put(store: Cluster, *names: str) -> None:
    for name in names:
        store.client().put_object(Bucket=BUCKET, Key=name, Body=name.encode() * 1_000)


def held(store: Cluster) -> dict[str, bytes]:
    """All objects with their bytes."""
    client: Any = store.client()
    listed = client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {
        entry["Key"]: client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read() for entry in listed
    }


def snapshots(store: Cluster, node: int) -> list[Path]:
    return sorted((store.folder / f"node-{node}" / "snapshots").glob("*.snapshot"))


def until_saved(store: Cluster) -> None:
    """Until each node has a snapshot that was begun after now: the next but one, as one may be under way."""
    seen = {path for node in store.nodes for path in snapshots(store, node)}

    def all_new() -> bool:
        seen.update(path for node in store.nodes for path in snapshots(store, node))
        return all(
            sum(path.parent.parent.name == f"node-{node}" for path in seen - begun) > 1
            for node in store.nodes
        )

    begun = frozenset(seen)
    wait_until(all_new, within_s=PATIENCE_S, what="a new snapshot in each node's folder")


def damage(store: Cluster, name: str) -> None:
    """Flip a bit of a key's rows, behind everybody's back."""
    file = store.folder / "data/metadata/data.mdb"
    raw = bytearray(file.read_bytes())
    at, hits = raw.find(name.encode()), 0
    while at >= 0:
        raw[at] ^= 1
        hits += 1
        at = raw.find(name.encode(), at + 1)
    assert hits
    file.write_bytes(raw)


def refused_start(store: Cluster) -> str:
    """What a start says that ends because the metadata is damaged."""
    command = [str(store.program), "-config", str(store.config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=environment())
    assert ended.returncode == EXIT_DAMAGED, ended.stderr
    return ended.stderr


def test_a_backup_comes_back(store: Cluster, tmp_path: Path) -> None:
    put(store, "one", "two")
    file = tmp_path / "backup"
    done = ctl(store, "backup", str(file))
    assert done.returncode == 0, done.stderr
    put(store, "three")
    refused = ctl(store, "restore", str(file))
    assert refused.returncode == 1 and "stop the store first" in refused.stderr
    store.stop()
    cut = tmp_path / "cut"
    cut.write_bytes(file.read_bytes()[:-1])
    refused = ctl(store, "restore", str(cut))
    assert refused.returncode == 1 and "no end" in refused.stderr
    done = ctl(store, "restore", str(file))
    assert done.returncode == 0, done.stderr
    store.start_all()
    assert held(store) == {name: name.encode() * 1_000 for name in ("one", "two")}
    assert len(list((tmp_path / "data").glob("metadata.before-*"))) == 1


def test_damaged_metadata_stops_the_store_and_the_newest_snapshot_restores_it(store: Cluster) -> None:
    names = [f"object-{number}" for number in range(20)]
    put(store, *names)
    until_saved(store)
    store.stop()
    assert all(
        len(snapshots(store, node)) <= 3 for node in store.nodes
    )  # the last was not followed by a clearing
    file = store.folder / "data/metadata/data.mdb"
    sound = file.read_bytes()
    damage(store, "object-7")
    for _ in range(2):
        said = refused_start(store)
        assert "is damaged" in said and "s3ctl restore --newest --salvage" in said
        file.write_bytes(sound)  # nobody forgets what was found
    newest = snapshots(store, 1)[-1]
    newest.write_bytes(newest.read_bytes()[:-5])  # one that is not whole is passed over
    done = ctl(store, "restore", "--newest")
    assert done.returncode == 0, done.stderr
    store.start_all()
    assert held(store) == {name: name.encode() * 1_000 for name in names}


def test_a_file_of_metadata_that_was_cut_is_not_served(store: Cluster) -> None:
    put(store, "one")
    until_saved(store)
    store.stop()
    file = store.folder / "data/metadata/data.mdb"
    file.write_bytes(file.read_bytes()[: 5 * 4_096])
    assert "its file was cut" in refused_start(store)
    assert ctl(store, "restore", "--newest").returncode == 0
    store.start_all()
    assert held(store) == {"one": b"one" * 1_000}


def test_metadata_that_is_gone_is_not_begun_anew_beside_shards(store: Cluster) -> None:
    names = [f"object-{number}" for number in range(5)]
    put(store, *names)
    until_saved(store)
    store.stop()
    metadata = store.folder / "data/metadata"
    shutil.rmtree(metadata)
    for left in (None, b""):  # LMDB takes an empty file for a new one
        if left is not None:
            metadata.mkdir()
            (metadata / "data.mdb").write_bytes(left)
        said = refused_start(store)
        assert "is gone" in said and "s3ctl restore --newest --salvage" in said
    for node in store.nodes[1:]:  # one trace is enough
        shutil.rmtree(store.folder / f"node-{node}/snapshots")
    assert "is gone" in refused_start(store)
    done = ctl(store, "restore", "--newest", "--salvage")
    assert done.returncode == 0, done.stderr
    store.start_all()
    assert held(store) == {name: name.encode() * 1_000 for name in names}


def test_the_shards_alone_give_the_objects_back(store: Cluster) -> None:
    client: Any = store.client()
    wanted = {f"folder/ö-{number}": bytes([number]) * (1 << number) for number in range(23)}
    for name, body in wanted.items():
        client.put_object(Bucket=BUCKET, Key=name, Body=b"old")
        client.put_object(
            Bucket=BUCKET, Key=name, Body=body, ContentType="text/x", Metadata={"size": str(len(body))}
        )
    upload = client.create_multipart_upload(Bucket=BUCKET, Key="parts")["UploadId"]
    client.upload_part(Bucket=BUCKET, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    heads = {name: client.head_object(Bucket=BUCKET, Key=name) for name in wanted}
    store.stop()
    shutil.rmtree(store.folder / "data/metadata")
    done = ctl(store, "salvage")
    assert done.returncode == 0, done.stderr
    assert f"{len(wanted)} objects" in done.stdout or f"{2 * len(wanted)} objects" in done.stdout
    assert f"upload {upload}" in done.stdout or "more" in done.stdout
    store.start_all()
    assert held(store) == wanted
    client = store.client()
    for name, head in heads.items():
        found = client.head_object(Bucket=BUCKET, Key=name)
        assert [found[field] for field in ("ETag", "Metadata", "ContentType", "ContentLength")] == [
            head[field] for field in ("ETag", "Metadata", "ContentType", "ContentLength")
        ]
    etag = client.list_parts(Bucket=BUCKET, Key="parts", UploadId=upload)["Parts"][0]["ETag"]
    client.complete_multipart_upload(
        Bucket=BUCKET,
        Key="parts",
        UploadId=upload,
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]},
    )
    assert client.get_object(Bucket=BUCKET, Key="parts")["Body"].read() == b"part"


def report(store: Cluster) -> set[tuple[str, str]]:
    """(key, the beginning of what is in doubt about it) of the last salvage."""
    doubts = json.loads((store.folder / "data/salvage-report.json").read_text())["doubts"]
    return {(doubt["key"], doubt["what"].partition(", ")[0]) for doubt in doubts}


def test_the_shards_of_three_nodes_are_enough_and_what_two_have_is_told(store: Cluster) -> None:
    wanted = {f"object-{number}": bytes([number]) * (1 << number) for number in range(0, 22, 3)}
    for name, body in wanted.items():
        store.client().put_object(Bucket=BUCKET, Key=name, Body=body)
    until_saved(store)
    store.wait_healed(deadline_s=PATIENCE_S)
    store.stop()
    metadata, away = store.folder / "data/metadata", store.folder / "away"
    away.mkdir()
    whole = snapshots(store, 1)[-1]
    for node in (5, 4, 3):
        shutil.move(store.folder / f"node-{node}", away)
        shutil.rmtree(metadata)
        done = ctl(store, "salvage")
        assert done.returncode == 0, done.stderr
        lost = {
            ("", f"node {other} is not there: what needs its shards is not found") for other in range(node, 6)
        }
        assert lost <= report(store)
        if node > 3:
            assert f"{len(wanted)} objects" in done.stdout
            assert not {key for key, _ in report(store)} - {""}
    assert "0 objects" in done.stdout
    unread = {(name, "2 shards are there") for name in wanted}
    assert unread <= report(store)
    assert ctl(store, "restore", str(whole), "--salvage").returncode == 0
    assert unread <= report(store)
    shutil.move(away / "node-3", store.folder)
    shutil.rmtree(metadata)
    assert ctl(store, "salvage").returncode == 0
    store.start_all()
    assert held(store) == wanted


def test_a_backup_from_before_a_node_joined_says_so_and_comes_back_whole(
    store: Cluster, tmp_path: Path
) -> None:
    put(store, "before")
    assert ctl(store, "backup", str(tmp_path / "backup")).returncode == 0
    store.stop()
    joined = store.extend()
    store.start(joined)
    join(store, joined)
    names = [f"object-{number}" for number in range(12)]
    put(store, *names)
    store.stop()
    done = ctl(store, "restore", str(tmp_path / "backup"), "--salvage")
    assert done.returncode == 0, done.stderr
    assert f"node {joined} is no member in this metadata" in done.stdout
    store.start(joined)
    join(store, joined)
    wait_until(lambda: store.metric("quoin_nodes_up") == joined, within_s=PATIENCE_S, what="the node is up")
    assert held(store) == {name: name.encode() * 1_000 for name in ("before", *names)}


def join(store: Cluster, node: int) -> None:
    wait_until(
        lambda: ctl(store, "node", "add", str(node)).returncode == 0,
        within_s=PATIENCE_S,
        what=f"node {node} is taken in",
    )


def parts(store: Cluster, name: str) -> None:
    """A completed multipart upload of two parts."""
    client: Any = store.client()
    where = {"Bucket": BUCKET, "Key": name}
    upload = client.create_multipart_upload(**where)["UploadId"]
    bodies = {1: b"1" * (5 << 20), 2: b"2"}
    made = [
        {
            "PartNumber": number,
            "ETag": client.upload_part(**where, UploadId=upload, PartNumber=number, Body=body)["ETag"],
        }
        for number, body in bodies.items()
    ]
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": made})


def keep(snapshot: Path, folder: Path) -> bool:
    """Whether it was still there."""
    try:
        (folder / snapshot.name).hardlink_to(snapshot)
    except FileNotFoundError:
        return False
    return True


def an_hour_of_everything(store: Cluster) -> dict[str, bytes]:
    """All kinds of changes behind the newest snapshot, which are acknowledged; the objects that there are then."""
    client: Any = store.client()
    put(store, "kept", "replaced", "doomed", "tagged")
    until_saved(store)
    kept_folder = store.folder / "kept"
    kept_folder.mkdir()
    wait_until(lambda: keep(snapshots(store, 1)[-1], kept_folder), within_s=PATIENCE_S, what="one is kept")
    client.put_object(Bucket=BUCKET, Key="replaced", Body=b"younger")
    client.put_object(Bucket=BUCKET, Key="younger", Body=b"young" * 100_000)
    client.copy_object(Bucket=BUCKET, Key="copy", CopySource={"Bucket": BUCKET, "Key": "kept"})
    client.delete_object(Bucket=BUCKET, Key="doomed")
    tags = {"TagSet": [{"Key": "a", "Value": "b"}]}
    client.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging=tags)
    parts(store, "parts")
    store.kill(*store.nodes)
    for node in store.nodes:  # as if there was none since
        shutil.rmtree(store.folder / f"node-{node}/snapshots")
    shutil.move(kept_folder, store.folder / "node-1/snapshots")
    kept = b"kept" * 1_000
    return {
        "copy": kept,
        "kept": kept,
        "parts": b"1" * (5 << 20) + b"2",
        "replaced": b"younger",
        "tagged": b"tagged" * 1_000,
        "younger": b"young" * 100_000,
    }


@pytest.mark.parametrize("salvage", [("--salvage",), ()])
def test_a_snapshot_and_the_journal_give_back_all_that_was_acknowledged(
    store: Cluster, salvage: tuple[str, ...]
) -> None:
    wanted = an_hour_of_everything(store)
    damage(store, "kept")
    assert "is damaged" in refused_start(store)
    done = ctl(store, "restore", "--newest", *salvage)
    assert done.returncode == 0, done.stderr
    assert "in doubt" not in done.stdout, done.stdout
    store.start_all()
    assert held(store) == wanted
    client: Any = store.client()
    assert client.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == [{"Key": "a", "Value": "b"}]
    assert "Uploads" not in client.list_multipart_uploads(Bucket=BUCKET)


def test_without_a_journal_the_shards_give_back_what_they_can_and_the_rest_is_told(store: Cluster) -> None:
    wanted = an_hour_of_everything(store)
    damage(store, "kept")
    assert "is damaged" in refused_start(store)
    shutil.rmtree(store.folder / "data/metadata/journal")
    done = ctl(store, "restore", "--newest", "--salvage")
    assert done.returncode == 0, done.stderr
    assert ("", "deletes") in report(store)
    assert [what[:7] for key, what in report(store) if key == "parts"] == ["upload "]
    store.start_all()
    found = held(store)
    assert {name: found[name] for name in ("kept", "replaced", "tagged", "younger")} == {
        name: wanted[name] for name in ("kept", "replaced", "tagged", "younger")
    }
