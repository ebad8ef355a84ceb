"""The audit log of a live store: every decision of every gateway process, on disk when it has stopped, no secret."""

import json
from pathlib import Path

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.integration.cluster import Cluster

SECRET = "a-secret-of-the-second-key-that-nothing-may-say"
SETTINGS = f"""
[[auth]]
access_key_id = "AKFIRST"
secret_access_key = "{SECRET}"
account_id = "100000000001"
policy = [{{ bucket = "*", actions = ["*"] }}]
"""
pytestmark = pytest.mark.cluster


def test_decisions_are_on_disk_and_secrets_are_not(tmp_path: Path) -> None:
    with Cluster.create(tmp_path, together=True, settings=SETTINGS) as store:
        store.start_all()
        client = store.client(keys=("AKFIRST", SECRET))
        client.create_bucket(Bucket="photos")
        client.put_object(Bucket="photos", Key="key", Body=b"body")
        url = client.generate_presigned_url("get_object", Params={"Bucket": "photos", "Key": "key"})
        nobody = boto3.client("s3", endpoint_url=store.endpoint(2), config=Config(signature_version=UNSIGNED))
        with pytest.raises(ClientError, match="AccessDenied"):
            nobody.get_object(Bucket="photos", Key="key")
        nobody.close()
        assert store.get(url.removeprefix(store.endpoint(1)))[0] == 200
        assert store.stop() == [0]
        files = sorted(tmp_path.glob("node-*/audit/gateway-*.jsonl"))
        text = "".join(file.read_text() for file in files)
        lines = [json.loads(line) for line in text.splitlines()]
    found = {(line["operation"], line["access_key"], line["object"], line["allowed"]) for line in lines}
    assert found >= {
        ("CreateBucket", "AKFIRST", "", True),
        ("PutObject", "AKFIRST", "key", True),
        ("GetObject", "AKFIRST", "key", True),
        ("GetObject", "", "key", False),
    }
    signature = url.rpartition("=")[2]
    for secret in (SECRET, signature, "X-Amz", "Signature"):
        assert secret not in text
