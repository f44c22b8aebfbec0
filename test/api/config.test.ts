/** Configs through every door. */
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { describe, expect } from "vitest";
import type { WatchConfigResponse } from "../../gen/ironflow/kv/v1/config_service_pb.js";
import { serviceTest } from "../support/fixtures.js";
import { freshName } from "../support/service.js";
import { CALL_DOORS } from "./doors.js";
import { clientsOf, refusal } from "./support.js";

const withService = serviceTest({ "config-bytes-max": "1024", "configs-max": "1000" });

describe.each(CALL_DOORS)("over $name", (door) => {
  const it = withService.extend("setUp", ({ service }) => () => ({
    configs: clientsOf(door, service.url).configs,
    name: freshName("config"),
  }));

  it("writes, reads, merges and deletes a config", async ({ setUp }) => {
    const { configs, name } = setUp();
    await refusal(configs.getConfig({ name }), Code.NotFound, "key_not_found");
    await refusal(configs.patchConfig({ name, data: "{}" }), Code.NotFound, "key_not_found");
    const data = '{"a":{"b":1},"c":"é"}';
    const { revision } = await configs.setConfig({ name, data });
    const read = await configs.getConfig({ name });
    expect(read).toMatchObject({ name, revision });
    expect(JSON.parse(read.data)).toEqual(JSON.parse(data));
    const updatedMs = read.updatedAt === undefined ? 0 : timestampMs(read.updatedAt);
    expect(Math.abs(updatedMs - Date.now())).toBeLessThan(120_000);
    const patched = await configs.patchConfig({ name, data: '{"a":{"d":2},"e":null}' });
    expect(patched.revision).toBeGreaterThan(revision);
    expect(JSON.parse((await configs.getConfig({ name })).data)).toEqual({ a: { d: 2 }, c: "é", e: null });
    await configs.deleteConfig({ name });
    await refusal(configs.getConfig({ name }), Code.NotFound, "key_not_found");
    await configs.deleteConfig({ name });
  });

  it("writes only if the condition holds", async ({ setUp }) => {
    const { configs, name } = setUp();
    const { revision } = await configs.setConfig({
      ...{ name, data: "{}", condition: { case: "ifAbsent", value: true } },
    });
    await refusal(
      configs.setConfig({ name, data: "{}", condition: { case: "ifAbsent", value: true } }),
      ...([Code.AlreadyExists, "key_exists"] as const),
    );
    const wrong = revision + 1_000n;
    await refusal(
      configs.setConfig({ name, data: "{}", condition: { case: "ifRevision", value: wrong } }),
      ...([Code.Aborted, "revision_mismatch"] as const),
    );
    const patch = { name, data: '{"x":1}' };
    await refusal(configs.patchConfig({ ...patch, ifRevision: wrong }), Code.Aborted, "revision_mismatch");
    await refusal(configs.deleteConfig({ name, ifRevision: wrong }), Code.Aborted, "revision_mismatch");
    const next = await configs.patchConfig({ ...patch, ifRevision: revision });
    const last = await configs.setConfig({
      ...{ name, data: '{"y":2}', condition: { case: "ifRevision", value: next.revision } },
    });
    await configs.deleteConfig({ name, ifRevision: last.revision });
  });

  it("lists configs in the order of their names, page by page", async ({ setUp }) => {
    const { configs, name } = setUp();
    for (const end of ["b", "a", "c"]) await configs.setConfig({ name: `${name}.${end}`, data: '{"v":1}' });
    const listed: string[] = [];
    let pageToken = "";
    do {
      const page = await configs.listConfigs({ limit: 2, pageToken });
      expect(page.configs.length).toBeLessThanOrEqual(2);
      for (const config of page.configs) if (config.name.startsWith(name)) listed.push(config.name);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(listed).toEqual([`${name}.a`, `${name}.b`, `${name}.c`]);
    const all = (await configs.listConfigs({})).configs.map((config) => config.name);
    expect(all).toEqual([...all].sort((one, other) => Buffer.compare(Buffer.from(one), Buffer.from(other))));
    expect(all).toEqual(expect.arrayContaining(listed));
  });

  it("streams the present state, then each change, of one config", async ({ setUp }) => {
    const { configs, name } = setUp();
    await configs.setConfig({ name, data: '{"v":1}' });
    const seen: string[] = [];
    const steps = [
      () =>
        configs
          .setConfig({ name: `${name}.other`, data: "{}" })
          .then(() => configs.patchConfig({ name, data: '{"w":2}' })),
      () => configs.deleteConfig({ name }),
      () => configs.setConfig({ name, data: '{"v":\n3}' }),
    ];
    const line = (state: WatchConfigResponse): string =>
      `${state.name === name ? "" : state.name}${state.data === "" ? "gone" : JSON.stringify(JSON.parse(state.data))}`;
    for await (const state of configs.watchConfig({ name })) {
      seen.push(line(state));
      const step = steps.shift();
      if (step === undefined) break;
      await step();
    }
    expect(seen).toEqual(['{"v":1}', '{"v":1,"w":2}', "gone", '{"v":3}']);
  });

  it("refuses what is malformed or too large", async ({ setUp }) => {
    const { configs, name } = setUp();
    for (const data of ["", "nonsense", "[1]", "null", '"text"'])
      await refusal(configs.setConfig({ name, data }), Code.InvalidArgument, "invalid_argument");
    for (const wrong of ["a*", "a>b", "a\u0000", "x".repeat(513)])
      await refusal(configs.setConfig({ name: wrong, data: "{}" }), Code.InvalidArgument, "invalid_argument");
    const large = JSON.stringify({ text: "x".repeat(1_024) });
    await refusal(configs.setConfig({ name, data: large }), Code.ResourceExhausted, "value_too_large");
    await configs.setConfig({ name, data: JSON.stringify({ a: "x".repeat(900) }) });
    const more = JSON.stringify({ b: "x".repeat(200) });
    await refusal(configs.patchConfig({ name, data: more }), Code.ResourceExhausted, "value_too_large");
  });
});
