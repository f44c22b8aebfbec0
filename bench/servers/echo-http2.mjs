// The least that node:http2 can do, on the stream API: reads a request, answers with its bytes and a trailer as gRPC has one.
import { createServer } from "node:http2";

const server = createServer({ settings: { maxConcurrentStreams: 1000, initialWindowSize: 1 << 20 } });
server.on("stream", (stream) => {
  const chunks = [];
  stream.on("data", (chunk) => chunks.push(chunk));
  stream.on("error", () => undefined);
  stream.on("end", () => {
    stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
    stream.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
