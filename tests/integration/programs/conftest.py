"""Owns what the tests of programs share: the bodies that a bucket really holds, read by a client of ours."""

from collections.abc import Callable

import pytest

from tests.integration.cluster import Cluster

Contents = Callable[[str], dict[str, bytes]]


@pytest.fixture
def contents(shared_cluster: Cluster) -> Contents:
    """Reads a bucket from the last gateway: key -> body."""
    store = shared_cluster.client(shared_cluster.nodes[-1])

    def read(bucket: str) -> dict[str, bytes]:
        pages = store.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {key: store.get_object(Bucket=bucket, Key=key)["Body"].read() for key in found}

    return read
