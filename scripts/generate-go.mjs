// Generates clients/go/gen from the contract. Where Go or its modules are missing, it says so and leaves the files as they are.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const download = spawnSync("go", ["mod", "download"], { cwd: `${root}clients/go`, encoding: "utf8" });
if (download.status === 0) {
  const args = ["generate", "--template", "clients/go/buf.gen.yaml"];
  const { status } = spawnSync(`${root}node_modules/.bin/buf`, args, { cwd: root, stdio: "inherit" });
  process.exitCode = status ?? 1;
} else {
  const reason =
    download.error?.code === "ENOENT" ? "Go is not installed" : "its modules can't be downloaded";
  process.stderr.write(`clients/go/gen is not generated: ${reason}.\n`);
}
