/** Snapshots of a bucket of which the server can't read a message for a direct get: it says so in the middle of its answer. */
import { headers, type NatsConnection, type Subscription } from "@nats-io/transport-node";
import { expect } from "vitest";
import { streamName, subjectPrefix } from "../../src/kv/names.js";
import { storeTest } from "../support/fixtures.js";
import { scope } from "./store-contract.js";
import { read } from "./watching.js";

const KEYS = ["a", "b", "c"];

const it = storeTest();

it.for([0, 1])(
  "shows every key to a snapshot watch where the answer breaks off after %i messages",
  async (readable, { connection, hubs, bucket }) => {
    await createWithoutDirectGets(connection, bucket);
    for (const key of KEYS)
      await connection.request(subjectPrefix(bucket) + key, key.toUpperCase(), { timeout: 60_000 });
    let asked = 0;
    const responder = answerDirectGets(connection, bucket, readable, () => asked++);
    try {
      const watcher = await hubs.watch(bucket, { filters: [], start: "snapshot" }, scope(60_000));
      expect(await read(watcher, KEYS.length + 1)).toEqual([
        ...["put a=A @1", "put b=B @2", "put c=C @3"],
        "snapshot_end @3",
      ]);
      await watcher.return();
      expect(asked).toBeGreaterThan(0);
    } finally {
      responder.unsubscribe();
    }
  },
);

/** A bucket as another program may create it: the server answers no direct gets of it. */
async function createWithoutDirectGets(connection: NatsConnection, bucket: string): Promise<void> {
  const name = streamName(bucket);
  const config = { name, subjects: [`${subjectPrefix(bucket)}>`], max_msgs_per_subject: 1 };
  const reply = await connection.request(`$JS.API.STREAM.CREATE.${name}`, JSON.stringify(config), {
    timeout: 60_000,
  });
  expect(reply.json<{ error?: object }>().error).toBeUndefined();
}

/** Answers in the server's place, as nats-server 2.15.1 does where it can't load a message (`getDirectMulti` in stream.go). */
function answerDirectGets(
  connection: NatsConnection,
  bucket: string,
  readable: number,
  onAsked: () => void,
): Subscription {
  return connection.subscribe(`$JS.API.DIRECT.GET.${streamName(bucket)}`, {
    callback: (_, request) => {
      onAsked();
      for (const [index, key] of KEYS.slice(0, readable).entries()) {
        const fields = headers();
        fields.set("Nats-Stream", streamName(bucket));
        fields.set("Nats-Subject", subjectPrefix(bucket) + key);
        fields.set("Nats-Sequence", String(index + 1));
        fields.set("Nats-Time-Stamp", new Date().toISOString());
        request.respond(key.toUpperCase(), { headers: fields });
      }
      request.respond("", { headers: headers(404, "Message Not Found") });
    },
  });
}
