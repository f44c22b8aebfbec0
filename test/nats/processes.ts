/** Looks at processes by pid, through /proc. */
import { readdir, readFile, readlink } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 10;
const GIVE_UP_MS = 15_000;

/** Whether the process runs; one that only waits to be collected does not. */
export async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat !== "" && !/\) Z /.test(stat);
}

export async function untilGone(pid: number): Promise<void> {
  const deadlineMs = performance.now() + GIVE_UP_MS;
  while (await isAlive(pid)) {
    if (performance.now() > deadlineMs) throw new Error(`process ${pid} still runs`);
    await delay(POLL_MS);
  }
}

export async function childrenOf(pid: number): Promise<number[]> {
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8");
  return children.split(" ").flatMap((child) => (child === "" ? [] : [Number(child)]));
}

/** Processes whose command line names the text. */
export async function processesNaming(text: string): Promise<number[]> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (pid) => {
      const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
      return commandLine.includes(text) ? [Number(pid)] : [];
    }),
  );
  return found.flat();
}

/** The local addresses, such as `0100007F:1092`, on which the process accepts TCP connections. */
export async function listeningAddresses(pid: number): Promise<string[]> {
  const inodes = new Set<string>();
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => "");
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  const tables = await Promise.all(
    ["tcp", "tcp6"].map((name) => readFile(`/proc/net/${name}`, "utf8").catch(() => "")),
  );
  const rows = tables.flatMap((table) => table.split("\n").slice(1)).map((row) => row.trim().split(/\s+/));
  return rows.flatMap(([, local = "", , state, , , , , , inode = ""]) =>
    state === "0A" && inodes.has(inode) ? [local] : [],
  );
}
