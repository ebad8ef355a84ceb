"""The drill's model: right answers pass, each wrong one is named for what it is."""

import re

import pytest

from s3d.drill.facts import Breach
from s3d.drill.model import Bodies, Content, Model, etag_of

BODIES = Bodies(7)


def content(number: int, size_bytes: int = 100) -> Content:
    return BODIES.object_of(number, size_bytes)[0]


def body(one: Content) -> bytes:
    return BODIES.bytes_of(one.number, one.size_bytes)


OLD, NEW = content(1), content(2)


@pytest.fixture
def model() -> Model:
    """`k` holds NEW and held OLD; `gone` held OLD; of `maybe` nobody knows whether it holds NEW, or OLD still."""
    made = Model(BODIES)
    for key in ("k", "gone", "maybe"):
        made.settle(key, OLD)
    made.settle("k", NEW)
    made.settle("gone", None)
    made.doubt("maybe", NEW)
    return made


def test_bodies_differ_and_come_again():
    assert BODIES.bytes_of(1, 5_000) == Bodies(7).bytes_of(1, 5_000) != BODIES.bytes_of(2, 5_000)
    assert BODIES.bytes_of(1, 5_000) != Bodies(8).bytes_of(1, 5_000)
    for size_bytes in (0, 1, 15, 5_000_000):
        found, sent = BODIES.object_of(1, size_bytes)
        assert len(sent) == size_bytes and found == Content(1, size_bytes, etag_of(sent))


def test_right_reads_pass(model: Model):
    assert model.judge_read("k", body(NEW)) is None
    assert model.judge_read("gone", None) is None
    assert model.judge_read("never", None) is None
    assert model.judge_read("maybe", body(OLD)) is None is model.judge_read("maybe", body(NEW))
    assert model.judge_read("k", body(NEW)[10:20], first=10, whole=False) is None


WRONG_READS = {
    "lost": ("k", None, Breach.LOST),
    "the old one": ("k", body(OLD), Breach.BACK),
    "deleted": ("gone", body(OLD), Breach.BACK),
    "never written": ("never", b"x", Breach.BACK),
    "a bit": ("k", bytes([body(NEW)[0] ^ 1]) + body(NEW)[1:], Breach.WRONG),
    "cut": ("k", body(NEW)[:-1], Breach.WRONG),
    "padded": ("k", body(NEW) + b"\0", Breach.WRONG),
    "of another key": ("k", body(content(9)), Breach.WRONG),
    "empty": ("k", b"", Breach.WRONG),
    "neither": ("maybe", None, Breach.LOST),
}


@pytest.mark.parametrize("name", WRONG_READS)
def test_wrong_reads_are_named(model: Model, name: str):
    key, found, breach = WRONG_READS[name]
    finding = model.judge_read(key, found)
    assert finding and (finding.breach, finding.key) == (breach, key)


def test_wrong_ranges_are_named(model: Model):
    wrong = model.judge_read("k", body(NEW)[11:21], first=10, whole=False)
    old = model.judge_read("k", body(OLD)[10:20], first=10, whole=False)
    assert wrong and old and (wrong.breach, old.breach) == (Breach.WRONG, Breach.BACK)


def test_heads(model: Model):
    assert model.judge_head("k", (NEW.etag, 100)) is None is model.judge_head("gone", None)
    for key, found, breach in (
        ("k", None, Breach.LOST),
        ("k", (OLD.etag, 100), Breach.BACK),
        ("k", (NEW.etag, 101), Breach.WRONG),
        ("gone", (OLD.etag, 100), Breach.BACK),
    ):
        finding = model.judge_head(key, found)
        assert finding and finding.breach is breach


def test_lists(model: Model):
    assert model.judge_list({"k": NEW.etag, "maybe": OLD.etag}, "") == []
    assert model.judge_list({"k": NEW.etag}, "k") == []
    for listed, breach, key in (
        ({"maybe": NEW.etag}, Breach.LOST, "k"),
        ({"k": OLD.etag, "maybe": NEW.etag}, Breach.BACK, "k"),
        ({"k": NEW.etag, "maybe": NEW.etag, "gone": OLD.etag}, Breach.BACK, "gone"),
        ({"k": NEW.etag, "maybe": NEW.etag, "x": OLD.etag}, Breach.ANSWER, "x"),
    ):
        (finding,) = model.judge_list(listed, "")
        assert (finding.breach, finding.key) == (breach, key)
    (finding,) = model.judge_list({"k": NEW.etag, "maybe": NEW.etag}, "k")
    assert (finding.breach, finding.key) == (Breach.ANSWER, "maybe"), "it is not under that prefix"


def test_a_key_of_unknown_outcome_is_written_no_more(model: Model):
    assert model.spent("maybe") and not model.spent("k")
    assert model.known("maybe") is None and model.known("k") == NEW and model.known("gone") is None
    model.settle("k", OLD, spent=True)
    assert model.spent("k") and model.known("k") == OLD


def test_etags_of_uploads():
    """As S3 makes them: the MD5 of the parts' MD5s, and how many parts there are."""
    assert etag_of(b"abc") == "900150983cd24fb0d6963f7d28e17f72"
    assert re.fullmatch(r"[0-9a-f]{32}-2", etag_of(b"abc", b""))
