"""The drills' own judges can find fault: a model that allows everything would hold every row."""

import hashlib

import pytest

from tests.integration.ledger import Bodies, Content, Ledger

OLD, NEW = Content(1, 5_000), Content(2, 70_000)
BODIES = Bodies(3)


@pytest.fixture
def ledger() -> Ledger:
    made = Ledger(BODIES)
    made.acknowledge("k", OLD)
    return made


def etag(content: Content) -> str:
    return f'"{hashlib.md5(BODIES.bytes_of(content)).hexdigest()}"'


def test_bodies_differ_by_number_and_are_as_long_as_they_say():
    assert len({BODIES.bytes_of(Content(number, 100)) for number in range(100)}) == 100
    assert [len(BODIES.bytes_of(Content(1, size))) for size in (0, 1, 15, 5_000_000)] == [0, 1, 15, 5_000_000]


def test_what_was_acknowledged_is_right_and_all_else_is_a_fault(ledger: Ledger):
    body = BODIES.bytes_of(OLD)
    assert ledger.fault_of_read("k", body) == ""
    assert all(ledger.fault_of_read("k", wrong) for wrong in (None, b"", body[:-1], body[:-1] + b"?"))
    assert ledger.fault_of_read("never", None) == "" and ledger.fault_of_read("never", b"x")


def test_in_doubt_both_are_right_and_a_mix_is_not(ledger: Ledger):
    ledger.doubt("k", NEW)
    old, new = BODIES.bytes_of(OLD), BODIES.bytes_of(NEW)
    assert ledger.retired("k") and not ledger.fault_of_read("k", old) and not ledger.fault_of_read("k", new)
    assert ledger.fault_of_read("k", None) and ledger.fault_of_read("k", old + new[len(old) :])


def test_a_deleted_object_must_not_come_back(ledger: Ledger):
    ledger.acknowledge("k", None)
    assert ledger.fault_of_read("k", None) == ""
    assert "found 5000 bytes" in ledger.fault_of_read("k", BODIES.bytes_of(OLD))
    assert ledger.faults_of_list({"k": etag(OLD)}) and not ledger.faults_of_list({})


def test_lists_have_every_acknowledged_key_as_it_is(ledger: Ledger):
    assert not ledger.faults_of_list({"k": etag(OLD)})
    assert ledger.faults_of_list({}) and ledger.faults_of_list({"k": etag(NEW)})
    assert ledger.faults_of_list({"k": etag(OLD), "x": etag(OLD)}) and not ledger.faults_of_list(
        {}, prefix="y/"
    )
    ledger.doubt("new", NEW)
    assert not ledger.faults_of_list({"k": etag(OLD)}) and not ledger.faults_of_list(
        {"k": etag(OLD), "new": etag(NEW)}
    )
