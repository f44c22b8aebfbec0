// Fails if the contract has a breaking change since the previous commit (BREAKING_BASE). Skipped if that commit has no contract.
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
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
  const archive = execFileSync("git", ["archive", base, "proto"], { cwd: root, maxBuffer: 64 << 20 });
  execFileSync("tar", ["-x", "-C", before], { input: archive });
  // Both sides must have the same modules, or buf refuses to compare them.
  for (const path of ["buf.yaml", "third_party/googleapis"]) {
    cpSync(join(root, path), join(before, path), { recursive: true });
  }
  const result = spawnSync(join(root, "node_modules/.bin/buf"), ["breaking", "--against", before], {
    cwd: root,
    stdio: "inherit",
  });
  process.exitCode = result.status ?? 1;
} finally {
  rmSync(before, { recursive: true, force: true });
}
