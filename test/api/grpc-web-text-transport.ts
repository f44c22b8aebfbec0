/** gRPC-Web in base64, as the official client sends it: the transport of Connect-web with a `fetch` that encodes and decodes. */
import type { Transport } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const TEXT = "application/grpc-web-text";

export function createGrpcWebTextTransport(baseUrl: string): Transport {
  return createGrpcWebTransport({ baseUrl, useBinaryFormat: true, fetch: fetchText });
}

const fetchText: typeof fetch = async (input, init) => {
  const headers = new Headers(init?.headers);
  headers.set("content-type", `${TEXT}+proto`);
  headers.set("accept", TEXT);
  const binary = await new Response(init?.body ?? null).arrayBuffer();
  const response = await fetch(input, { ...init, headers, body: Buffer.from(binary).toString("base64") });
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith(TEXT)) return response;
  const answered = new Headers(response.headers);
  answered.set("content-type", type.replace(TEXT, "application/grpc-web"));
  const body = response.body?.pipeThrough(decoder()) ?? null;
  return new Response(body, { status: response.status, headers: answered });
};

/** Decodes base64 that has padding at any multiple of four characters. */
function decoder(): TransformStream<Uint8Array, Uint8Array> {
  let rest = "";
  return new TransformStream({
    transform(chunk, controller) {
      const text = rest + Buffer.from(chunk).toString("latin1");
      const end = text.length - (text.length % 4);
      rest = text.slice(end);
      for (const [part] of text.slice(0, end).matchAll(/[^=]+=*/g))
        controller.enqueue(Buffer.from(part, "base64"));
    },
  });
}
