/** What a person at a terminal learns when the service is ready. */
import { resolve } from "node:path";
import { expect, it } from "vitest";
import { loadConfig } from "../src/config/config.js";
import { readyMessage } from "../src/ready-message.js";

const URL = "http://127.0.0.1:9123";

it("names the addresses, the data folder, who may call, and how to stop", () => {
  const text = readyMessage({ url: URL, isOpen: true }, loadConfig({}));
  for (const part of [URL, `${URL}/docs`, resolve("./data"), "open: no API key is needed", "Ctrl-C"])
    expect(text).toContain(part);
});

it("says that calls need a key, and never shows the credentials of NATS", () => {
  const config = loadConfig({
    NATS_URL: "nats://user:secret@127.0.0.1:4222, tls://token@127.0.0.2:4222",
    IRONFLOW_API_KEY: "ik_0123456789abcdef0123456789abcdef",
  });
  const text = readyMessage({ url: URL, isOpen: false }, config);
  expect(text).toContain("locked: calls need an API key");
  expect(text).toContain("the NATS server at nats://127.0.0.1:4222, tls://127.0.0.2:4222");
  expect(text).not.toMatch(/secret|token|ik_0123/);
});
