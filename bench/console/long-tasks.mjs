// The longest tasks of a page's main thread, by Chromium's tracing: the time on the clock, and the processor time, which other programs of a busy
// machine do not lengthen.
import { readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const CATEGORIES = ["toplevel", "disabled-by-default-devtools.timeline", "devtools.timeline"];

/** Runs `work` while the page is traced. Times in milliseconds; `parts`: what the task with the most processor time consisted of. */
export async function longestTasks(browser, page, work) {
  const path = join(tmpdir(), `ironflow-console-trace-${process.pid}.json`);
  await browser.startTracing(page, { path, categories: CATEGORIES });
  await work();
  await browser.stopTracing();
  const { traceEvents } = JSON.parse(await readFile(path, "utf8"));
  await rm(path);
  const tasks = await tasksOf(page, traceEvents);
  const longest = tasks.reduce((most, task) => (task.tdur > most.tdur ? task : most), { tdur: 0 });
  return {
    count: tasks.length,
    clockMs: Math.max(0, ...tasks.map(({ dur }) => dur)) / 1_000,
    cpuMs: longest.tdur / 1_000,
    parts: partsOf(longest, traceEvents),
  };
}

/** The tasks of the main thread of the page's process: the one that parsed the page's scripts and laid it out. */
async function tasksOf(page, events) {
  const mains = events.filter(({ name, args }) => name === "thread_name" && args.name === "CrRendererMain");
  const byThread = mains.map(({ pid, tid }) =>
    events.filter(
      (event) => event.pid === pid && event.tid === tid && event.name === "RunTask" && event.tdur > 0,
    ),
  );
  return byThread.reduce((most, tasks) => (cpuOf(tasks) > cpuOf(most) ? tasks : most), []);
}

const cpuOf = (tasks) => tasks.reduce((sum, { tdur }) => sum + tdur, 0);

/** The events within a task that took a millisecond or more, by name. */
function partsOf(task, events) {
  const parts = new Map();
  for (const { name, pid, tid, ts, tdur } of events) {
    const isWithin = pid === task.pid && tid === task.tid && ts >= task.ts && ts < task.ts + task.dur;
    if (isWithin && tdur >= 1_000 && name !== "RunTask" && !name.startsWith("ThreadControllerImpl"))
      parts.set(name, (parts.get(name) ?? 0) + tdur / 1_000);
  }
  return [...parts].sort(([, one], [, other]) => other - one).slice(0, 6);
}
