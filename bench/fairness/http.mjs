// HTTP calls to the service, for the callers and the loads of the fairness benchmark.
import { Agent, request } from "node:http";

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });

export const closeConnections = () => agent.destroy();

/** Sends a request; resolves with the body. */
export function call(port, method, path, body, signal) {
  return new Promise((resolve, reject) => {
    const headers = {
      "content-type": typeof body === "string" ? "application/json" : "application/octet-stream",
    };
    const options = { port, host: "127.0.0.1", method, path, headers, agent, signal };
    const sent = request(options, (response) => {
      const parts = [];
      response.on("data", (part) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => {
        const bytes = Buffer.concat(parts);
        if (response.statusCode < 300) resolve(bytes);
        else reject(new Error(`${method} ${path}: ${response.statusCode} ${bytes.toString().slice(0, 200)}`));
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

/** Reads a response until a piece of it contains the text. */
export function readUntil(port, path, text, signal) {
  return new Promise((resolve, reject) => {
    const options = { port, host: "127.0.0.1", path, headers: { accept: "text/event-stream" }, signal };
    const sent = request(options, (response) => {
      let tail = "";
      response.on("error", reject);
      response.on("data", (part) => {
        tail = (tail + part.latin1Slice(Math.max(0, part.length - 4_096))).slice(-4_096);
        if (!tail.includes(text)) return;
        sent.destroy();
        resolve();
      });
    });
    sent.on("error", reject);
    sent.end();
  });
}
