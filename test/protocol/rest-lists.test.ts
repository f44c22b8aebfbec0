/** Complete lists over REST: sent page by page at the client's pace, and aborted if a page fails. */
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { once } from "node:events";
import { request as request1 } from "node:http";
import { connect } from "node:http2";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import {
  type ListKeysRequest,
  ListKeysResponseSchema,
} from "../../gen/ironflow/kv/v1/key_value_service_pb.js";
import type { CallInput } from "../../src/service/calls.js";
import { startBridge, type TestBridge } from "../support/http-bridge.js";

const KEYS = "/api/v1/kv/buckets/b/keys";
/** 256 KiB of JSON. */
const PAGE = Array.from({ length: 512 }, () => "k".repeat(509));

let bridge: TestBridge;
/** What a test does: page by number, and how many there are. */
let pageOf: (number: number, input: CallInput) => readonly string[];
let pageCount: number;

beforeAll(async () => {
  bridge = await startBridge({
    listKeys({ pageToken }: ListKeysRequest, input: CallInput) {
      const number = Number(pageToken);
      const nextPageToken = number + 1 < pageCount ? String(number + 1) : "";
      return create(ListKeysResponseSchema, { keys: [...pageOf(number, input)], nextPageToken });
    },
  });
});
afterAll(() => bridge.close());
beforeEach(() => {
  bridge.registry.calls.length = 0;
});

/** The body of an answer; rejects where it is cut off. */
const READERS = {
  async "HTTP/1.1"(path: string): Promise<string> {
    return (await fetch(bridge.url + path)).text();
  },
  async "HTTP/2"(path: string): Promise<string> {
    const session = connect(bridge.http2Url);
    try {
      const stream = session.request({ ":path": path });
      let text = "";
      stream.setEncoding("utf8");
      stream.on("data", (chunk: string) => (text += chunk));
      await once(stream, "end");
      // A stream that was reset ends too, and then says so.
      if (!stream.closed) await once(stream, "close");
      if (stream.rstCode !== 0) throw new Error(`reset with ${stream.rstCode}`);
      return text;
    } finally {
      session.close();
    }
  },
};

describe.each(Object.entries(READERS))("over %s", (_name, read) => {
  it("a list of several pages is one object, like a list of one page", async () => {
    pageCount = 3;
    const continued: (boolean | undefined)[] = [];
    pageOf = (number, input) => {
      continued.push(input.isContinued);
      return number === 1 ? [] : [`a${number}`, `"é${number}`];
    };
    expect(JSON.parse(await read(KEYS))).toEqual({ keys: ["a0", '"é0', "a2", '"é2'], count: 4 });
    // Only the first page counts against a limit on calls.
    expect(continued).toEqual([false, true, true]);
  });

  it("a list whose later page fails is aborted, so no client mistakes it for complete", async () => {
    pageCount = 3;
    pageOf = (number) => {
      if (number === 2) throw new ConnectError("The storage is away.", Code.Unavailable);
      return PAGE;
    };
    await expect(read(KEYS)).rejects.toThrow();
    pageOf = () => [];
    expect(JSON.parse(await read(KEYS))).toEqual({ keys: [], count: 0 });
  });

  it("a list whose first page fails is an error response", async () => {
    pageOf = () => {
      throw new ConnectError("The storage is away.", Code.Unavailable);
    };
    expect(JSON.parse(await read(KEYS))).toEqual({ error: "The storage is away.", code: "unavailable" });
  });
});

it("pages are read at the client's pace, and no more after it disconnects", async () => {
  pageCount = Infinity;
  const left = new Promise<void>((resolve) => {
    pageOf = (number, input) => {
      if (number === 0) input.signal.addEventListener("abort", () => resolve());
      return PAGE;
    };
  });
  const request = request1(bridge.url + KEYS).end();
  const [response] = (await once(request, "response")) as [NodeJS.ReadableStream];
  response.pause();
  for (let count = 0; count < 200; count++) await (await fetch(`${bridge.url}/api/v1/nothing`)).text();
  // What the sockets of both sides hold, 256 KiB a page.
  expect(bridge.registry.calls.length).toBeLessThan(100);
  request.on("error", () => undefined);
  request.destroy();
  await left;
});
