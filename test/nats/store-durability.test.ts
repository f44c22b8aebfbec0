/** What an acknowledged write survives: the death of the server, and of a cluster's leader. */
import { describe, expect, it } from "vitest";
import { startNatsServer } from "../support/nats-server.js";
import { bytes, scope, text } from "./store-contract.js";
import { openStore } from "./store-support.js";

describe("a nats-server that is killed and started again", () => {
  it("has every write that was acknowledged, and none twice", async () => {
    const own = await startNatsServer({ syncAlways: true });
    const opened = await openStore(own.url);
    try {
      await opened.store.createBucket({ name: "killed", history: 64 }, scope());
      const acknowledged = new Map<string, bigint>();
      let isOver = false;
      let unknown = 0;
      const writer = async (id: number): Promise<void> => {
        for (let count = 0; !isOver; count++) {
          const key = `${id}.${count}`;
          try {
            acknowledged.set(key, await opened.store.put("killed", key, bytes(key), {}, scope()));
          } catch (error) {
            if ((error as { kind?: string }).kind === "outcome_unknown") unknown++;
            else expect(error).toMatchObject({ kind: "unavailable" });
            await new Promise((resolve) => setTimeout(resolve, 5));
          }
        }
      };
      const writers = Array.from({ length: 16 }, (_, id) => writer(id));
      for (let round = 1; round <= 3; round++) {
        while (acknowledged.size < round * 200) await new Promise((resolve) => setTimeout(resolve, 1));
        await own.stop("SIGKILL");
        await own.start();
      }
      const before = acknowledged.size;
      while (acknowledged.size < before + 50) await new Promise((resolve) => setTimeout(resolve, 1));
      isOver = true;
      await Promise.all(writers);
      for (const [key, revision] of acknowledged) {
        const entries = await opened.store.history("killed", key, scope());
        expect(entries.map((entry) => [entry.revision, text(entry.value)])).toEqual([[revision, key]]);
      }
      const { items } = await opened.store.listKeys("killed", [], { limit: 0, pageToken: "" }, scope());
      expect(items.length).toBeGreaterThanOrEqual(acknowledged.size);
      expect(items.length).toBeLessThanOrEqual(acknowledged.size + unknown + writers.length * 3);
    } finally {
      await opened.close();
      await own.remove();
    }
  });
});
