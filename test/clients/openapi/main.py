"""Calls the service with the client that openapi-python-client generates from web/openapi.json."""

import base64
import io
import sys

from ironflow_kv_client import AuthenticatedClient
from ironflow_kv_client.api.buckets import create_bucket
from ironflow_kv_client.api.keys import delete_key, get_key, list_keys, put_key
from ironflow_kv_client.models import NewBucket
from ironflow_kv_client.types import File

url, key, bucket = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=key) as client:
    print("created", create_bucket.sync(client=client, body=NewBucket(name=bucket)).name)
    print("revision", put_key.sync(bucket, "a/b", client=client, body=File(payload=io.BytesIO(b"Ann"))).revision)
    print("value", base64.b64decode(get_key.sync(bucket, "a/b", client=client).value).decode())
    refused = put_key.sync_detailed(bucket, "a/b", client=client, body=File(payload=io.BytesIO(b"x")), if_match="7")
    print("refused", refused.status_code.value, refused.parsed.code)
    print("keys", list_keys.sync(bucket, client=client).keys)
    print("deleted", delete_key.sync_detailed(bucket, "a/b", client=client).status_code.value)
