// Compares the contract with that of the commit before: a change that breaks clients fails. The first commit has nothing to compare with.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const base = process.env.BREAKING_BASE ?? "HEAD~1";

if (spawnSync("git", ["rev-parse", "--verify", "--quiet", `${base}:proto`], { cwd: root }).status !== 0) {
  console.log(`buf breaking: ${base} has no contract to compare with; skipped.`);
  process.exit(0);
}
const before = mkdtempSync(join(tmpdir(), "ironflow-contract-"));
try {
  const archive = execFileSync("git", ["archive", base, "proto", "buf.yaml"], {
    cwd: root,
    maxBuffer: 64 << 20,
  });
  execFileSync("tar", ["-x", "-C", before], { input: archive });
  mkdirSync(join(before, "node_modules"));
  if (existsSync(join(root, "node_modules/protobufjs"))) {
    cpSync(join(root, "node_modules/protobufjs/google"), join(before, "node_modules/protobufjs/google"), {
      recursive: true,
    });
  } else {
    symlinkSync(join(root, "node_modules"), join(before, "node_modules"));
  }
  const result = spawnSync(join(root, "node_modules/.bin/buf"), ["breaking", "--against", before], {
    cwd: root,
    stdio: "inherit",
  });
  process.exitCode = result.status ?? 1;
} finally {
  rmSync(before, { recursive: true, force: true });
}
