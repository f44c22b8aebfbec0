/** Bodies with the coding deflate, which nothing here accepts: every protocol says so, and names what it accepts. */
import { once } from "node:events";
import { connect } from "node:http2";
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";

const it = serviceTest();
const METHOD = "/ironflow.kv.v1.BucketService/ListBuckets";
/** A message with the compressed flag. */
const COMPRESSED = Buffer.from([1, 0, 0, 0, 0]);
const SENTENCE = 'unknown compression "deflate": supported encodings are gzip';

describe("a body in deflate", () => {
  it("is refused over REST", async ({ service }) => {
    const headers = { "content-encoding": "deflate" };
    const answer = await fetch(`${service.url}/api/v1/kv/buckets`, { method: "POST", headers, body: "x" });
    expect(answer.status).toBe(415);
    expect(answer.headers.get("accept-encoding")).toBe("identity");
    expect(await answer.text()).toContain("The body has Content-Encoding deflate; it must be uncompressed.");
  });

  it("is refused over Connect", async ({ service }) => {
    const headers = { "content-type": "application/json", "content-encoding": "deflate" };
    const answer = await fetch(service.url + METHOD, { method: "POST", headers, body: "x" });
    expect(await answer.json()).toEqual({ code: "unimplemented", message: SENTENCE });
  });

  it("is refused over gRPC-Web", async ({ service }) => {
    const headers = { "content-type": "application/grpc-web", "grpc-encoding": "deflate" };
    const answer = await fetch(service.url + METHOD, { method: "POST", headers, body: COMPRESSED });
    const trailers = await answer.text();
    expect(trailers).toContain("grpc-status: 12");
    expect(trailers).toContain(SENTENCE);
  });

  it("is refused over gRPC", async ({ service }) => {
    const session = connect(service.url);
    const headers = { "content-type": "application/grpc", te: "trailers", "grpc-encoding": "deflate" };
    const stream = session.request({ ":method": "POST", ":path": METHOD, ...headers });
    const trailers = once(stream, "trailers");
    stream.resume().end(COMPRESSED);
    expect((await trailers)[0]).toMatchObject({
      "grpc-status": "12",
      "grpc-message": SENTENCE,
      "grpc-accept-encoding": "gzip",
    });
    session.close();
  });
});
