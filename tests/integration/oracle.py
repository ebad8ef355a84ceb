"""Owns the judgement after a drill: every key read through one gateway after the other, every list compared."""

import time
from collections.abc import Sequence
from itertools import cycle

from bench.signing import Credentials
from s3d.drill.model import Model
from tests.integration.client import Client, NoReplyError, Reply

PAUSE_S = 0.1


def faults_of_store(
    endpoints: Sequence[str],
    credentials: Credentials,
    ledger: Model,
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
                finding = ledger.judge_read(key, reply.body if reply.status == 200 else None)
                faults += [str(finding)] if finding else []
        for client in clients:
            listed = _persistent_list(client, bucket, time.monotonic() + deadline_s)
            faults += map(str, ledger.judge_list(listed, ""))
    finally:
        for client in clients:
            client.close()
    return faults


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
            return {key: etag.strip('"') for key, etag in client.list_keys(bucket).items()}
        except NoReplyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(PAUSE_S)
