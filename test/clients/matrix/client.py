"""Writes, reads, is refused and watches with a client library of Python: httpx over HTTP/1.1 or HTTP/2, requests, websockets, grpcio."""

import json
import sys

client, server, key, bucket = sys.argv[1:5]
headers = {"authorization": f"Bearer {key}"}
base = f"{server}/api/v1/kv/buckets/{bucket}"
# The service accepts values of 1 MiB.
TOO_LARGE = b"x" * (2 << 20)


def rest(session):
    put = session.put(f"{base}/keys/k", content=b"Ann", headers=headers)
    print("put", put.status_code)
    print("get", session.get(f"{base}/keys/k?raw=true", headers=headers).content.decode())
    print("conflict", session.put(f"{base}/keys/k", content=b"x", headers={**headers, "if-none-match": "*"}).json()["code"])
    print("too large", session.put(f"{base}/keys/k", content=TOO_LARGE, headers=headers).json()["code"])
    print("without key", session.get(f"{base}/keys/k").status_code)


if client in ("httpx-h1", "httpx-h2"):
    import httpx

    with httpx.Client(http1=client == "httpx-h1", http2=client == "httpx-h2") as session:
        rest(session)
        with session.stream("GET", f"{base}/watch", headers={**headers, "accept": "text/event-stream"}) as stream:
            print("watch", next(json.loads(line[5:])["key"] for line in stream.iter_lines() if line.startswith("data:")))
elif client == "requests":
    import requests

    class Session(requests.Session):
        def put(self, url, content, **options):
            return super().put(url, data=content, **options)

    with Session() as session:
        rest(session)
        with session.get(f"{base}/watch", headers={**headers, "accept": "text/event-stream"}, stream=True) as stream:
            lines = (line.decode() for line in stream.iter_lines(chunk_size=1))
            print("watch", next(json.loads(line[5:])["key"] for line in lines if line.startswith("data:")))
elif client == "websockets":
    from websockets.sync.client import connect

    with connect(base.replace("http", "ws", 1) + "/watch", additional_headers=headers) as socket:
        print("watch", json.loads(socket.recv())["key"])
elif client == "grpcio":
    import grpc
    from ironflow.kv.v1 import key_value_service_pb2 as messages, key_value_service_pb2_grpc as calls

    # gzip is set per channel: the headers of a watch must not wait for its first event.
    with grpc.insecure_channel(server.removeprefix("http://"), compression=grpc.Compression.Gzip) as channel:
        stub, metadata = calls.KeyValueServiceStub(channel), list(headers.items())
        print("put", stub.Put(messages.PutRequest(bucket=bucket, key="k", value=b"Ann"), metadata=metadata).revision > 0)
        print("get", stub.Get(messages.GetRequest(bucket=bucket, key="k"), metadata=metadata).entry.value.decode())
        for name, request, fields in [
            ("conflict", messages.PutRequest(bucket=bucket, key="k", precondition={"if_absent": True}), metadata),
            ("too large", messages.PutRequest(bucket=bucket, key="k", value=TOO_LARGE), metadata),
            ("without key", messages.PutRequest(bucket=bucket, key="k"), []),
        ]:
            try:
                stub.Put(request, metadata=fields)
            except grpc.RpcError as error:
                print(name, error.code().name)
        watch = stub.Watch(messages.WatchRequest(bucket=bucket), metadata=metadata)
        print("watch", next(event.change.entry.key for event in watch if event.HasField("change")))
        watch.cancel()
