/** `delete-keys`. */
import type { Command } from "commander";
import type { RunVerb } from "./bucket-commands.js";
import { startProgress } from "./progress.js";
import { addClientOptions } from "./session.js";
import { countOf } from "./text.js";

/** Small enough for the progress to move: about a second of deletes. */
const PAGE_KEYS = 5_000;

interface DeleteKeysFlags {
  readonly purge?: boolean;
  readonly yes?: boolean;
}

export function addDeleteKeysCommand(program: Command, run: RunVerb): void {
  addClientOptions(
    program
      .command("delete-keys <bucket> <filters...>")
      .description("delete the keys that match, such as 'user.*'; '>' matches every key"),
  )
    .option("--purge", "also remove their history")
    .option("-y, --yes", "do not ask for confirmation")
    .action((bucket: string, filters: string[], { purge, yes }: DeleteKeysFlags, command: Command) =>
      run(command, async (session) => {
        const what = purge === true ? "Permanently delete all keys, with their history," : "Delete all keys";
        const which = filters.map((filter) => JSON.stringify(filter)).join(" or ");
        await session.confirm(`${what} of ${JSON.stringify(bucket)} that match ${which}?`, yes);
        const progress = await startProgress(session, "delete-keys");
        const options = {
          ...{ ...session.call, purge, pageLimit: PAGE_KEYS },
          onProgress: ({ deleted, remainingMax }: { deleted: number; remainingMax: number }) =>
            progress.update(deleted / Math.max(1, deleted + remainingMax), () => countOf(deleted, "key")),
        };
        try {
          const { deleted, skipped } = await session.kv.bucket(bucket).deleteKeys(filters, options);
          progress.stop();
          const kept = skipped === 0 ? [] : [`${countOf(skipped, "key")} changed meanwhile, and stayed`];
          await session.print({ deleted, skipped }, () => [`deleted ${countOf(deleted, "key")}`, ...kept]);
        } finally {
          progress.stop();
        }
      }),
    );
}
