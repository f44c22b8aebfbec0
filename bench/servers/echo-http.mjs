// The least that node:http can do: reads a request, answers with fixed bytes. Prints its port.
import { createServer } from "node:http";

const body = Buffer.alloc(Number(process.argv[2] ?? 128), "x");
const server = createServer((request, response) => {
  request.resume();
  request.on("end", () => {
    response.writeHead(200, { "content-type": "application/octet-stream", "content-length": body.length });
    response.end(body);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
