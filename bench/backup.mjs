// Speed of export, verify and import through the built command: `npm run build && node bench/backup.mjs [safe|relaxed]`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "../packages/client/dist/index.js";

const MAIN = join(import.meta.dirname, "../dist/src/main.js");
const durability = process.argv[2] ?? "safe";
/** Entries, and bytes of each value. */
const CASES = [
  [100_000, 128],
  [5_000, 16_384],
  [200, 1_048_576],
];
const BATCH_BYTES = 500_000;

const directory = mkdtempSync(join(tmpdir(), "ironflow-bench-"));
const serveArgs = ["serve", "--port", "0", "--data-dir", join(directory, "data"), "--durability", durability];
const service = spawn(process.execPath, [MAIN, ...serveArgs], { stdio: ["ignore", "pipe", "inherit"] });
try {
  const url = await urlOf(service);
  const kv = createClient({ serverUrl: url }).kv();
  const rows = [];
  for (const [entries, valueBytes] of CASES) {
    const bucket = `values-of-${valueBytes}`;
    const file = join(directory, bucket);
    await fill(kv, bucket, entries, valueBytes);
    for (const [verb, args] of [
      ["export", ["export", bucket, "--output", file]],
      ["verify", ["verify", file]],
      ["import", ["import", file]],
    ]) {
      if (verb === "import") await kv.deleteBucket(bucket);
      const seconds = await run(args, url);
      rows.push({
        verb,
        "value bytes": valueBytes,
        "entries/s": Math.round(entries / seconds),
        "MB/s": Number(((entries * valueBytes) / 1e6 / seconds).toFixed(1)),
      });
    }
    await kv.deleteBucket(bucket);
  }
  console.log(`${durability}, load of the machine ${loadavg()[0].toFixed(1)}`);
  console.table(rows);
} finally {
  service.kill("SIGTERM");
  await once(service, "exit");
  rmSync(directory, { recursive: true });
}

async function fill(kv, bucket, entries, valueBytes) {
  await kv.createBucket({ name: bucket });
  const atOnce = Math.max(1, Math.min(1_000, Math.floor(BATCH_BYTES / valueBytes)));
  let revision = 0n;
  for (let at = 0; at < entries; at += atOnce) {
    const batch = Array.from({ length: Math.min(atOnce, entries - at) }, (_, index) => ({
      key: `key.${at + index}`,
      value: Buffer.alloc(valueBytes, (at + index) % 256),
      operation: "put",
      contentType: "",
    }));
    ({ revision } = await kv.bucket(bucket).importEntries(batch, revision));
  }
}

async function run(args, url) {
  const startMs = performance.now();
  const env = { PATH: process.env.PATH, IRONFLOW_SERVER: url };
  const child = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => (said += chunk));
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`${args.join(" ")} ended with ${code}: ${said}`);
  return (performance.now() - startMs) / 1_000;
}

async function urlOf(child) {
  let text = "";
  for await (const chunk of child.stdout) {
    text += chunk;
    const url = /"url":"([^"]+)"/.exec(text)?.[1];
    if (url !== undefined) return url;
  }
  throw new Error("the service ended");
}
