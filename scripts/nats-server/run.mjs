/** Runs the programs that the installer needs. */
import { execFile } from "node:child_process";

const REASON_LENGTH_MAX = 160;

/** A program failed. `isAbsent`: it, or its required module, is not installed. */
export class RunError extends Error {
  constructor(reason, isAbsent) {
    super(reason);
    this.isAbsent = isAbsent;
  }
}

/**
 * Runs a program and resolves with its standard output. Rejects with a RunError, whose message is the line of standard error that has the
 * reason.
 */
export function run([program, ...args], { cwd, env = process.env, timeoutMs }) {
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd, env, timeout: timeoutMs, windowsHide: true }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(runError(error, stderr, timeoutMs));
    });
  });
}

function runError(error, stderr, timeoutMs) {
  if (error.code === "ENOENT") return new RunError("not installed", true);
  // On Windows, `python` may be a stub that only opens the Microsoft Store.
  if (error.code === 9009) return new RunError("not installed", true);
  if (/No module named '?pip\b/.test(stderr)) return new RunError("has no pip", true);
  if (error.killed) return new RunError(`did not finish within ${timeoutMs / 1000} seconds`, false);
  return new RunError(reasonIn(stderr) ?? `ended with code ${error.code}`, false);
}

/** The last line that begins with "error:" (npm: the first error line that is not a code), otherwise the last line. */
function reasonIn(stderr) {
  const lines = stderr.split("\n").map((line) => line.trim());
  const npm = lines
    .flatMap((line) => /^npm (?:error|ERR!) ?(.*)$/.exec(line)?.[1] ?? [])
    .find((line) => line !== "" && !/^(code|errno|syscall|type) /.test(line));
  const marked = lines.findLast((line) => /^error: /i.test(line))?.replace(/^error: /i, "");
  const reason = npm ?? marked ?? lines.findLast((line) => line !== "");
  return reason?.replace(/\.$/, "").slice(0, REASON_LENGTH_MAX);
}
