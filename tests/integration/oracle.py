"""Owns the judgement after a drill: every key read through one gateway after the other, every list compared."""

import time
from collections.abc import Sequence
from itertools import cycle

from bench.signing import Credentials
from tests.integration.client import Client, NoReplyError, Reply
from tests.integration.ledger import Ledger

PAUSE_S = 0.1


def faults_of_store(
    endpoints: Sequence[str],
    credentials: Credentials,
    ledger: Ledger,
    *,
    bucket: str,
    prefix: str = "",
    deadline_s: float = 60.0,
) -> list[str]:
    """Everything that the store gets wrong against the ledger; empty where all is right.

    Bodies are read of keys under `prefix`, lists are whole. Errors are asked again for `deadline_s`, for a store that
    is still starting or a machine that is busy; then they are faults, too, and no later one has as much time.
    """
    clients = [Client(endpoint, credentials) for endpoint in endpoints]
    faults, late = list[str](), False
    try:
        for key, client in zip(ledger.keys(prefix), cycle(clients), strict=False):
            reply = _persistent_get(client, bucket, key, time.monotonic() + (0.0 if late else deadline_s))
            late = late or reply is None
            if reply is None:
                faults.append(f"{key}: no answer before the deadline")
            else:
                faults.append(ledger.fault_of_read(key, reply.body if reply.status == 200 else None))
        for client in clients:
            faults += ledger.faults_of_list(_persistent_list(client, bucket, time.monotonic() + deadline_s))
    finally:
        for client in clients:
            client.close()
    return [fault for fault in faults if fault]


def _persistent_get(client: Client, bucket: str, key: str, deadline: float) -> Reply | None:
    while True:
        try:
            reply = client.get(bucket, key)
        except NoReplyError:
            reply = None
        if reply and reply.status in (200, 404):
            return reply
        if time.monotonic() > deadline:
            return None
        time.sleep(PAUSE_S)


def _persistent_list(client: Client, bucket: str, deadline: float) -> dict[str, str]:
    while True:
        try:
            return client.list_keys(bucket)
        except NoReplyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)
