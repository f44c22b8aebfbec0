/** `key`: API keys by the command line, on a real service. */
import { describe, expect } from "vitest";
import { serviceTest } from "../support/fixtures.js";
import { run, type Run } from "./support.js";

const ROOT_KEY = "the-right-key-of-tests";
const SECRET = /^ifkey_[0-9a-f]{40}$/;

interface KeyJson {
  readonly id: string;
  readonly secret: string;
}

const it = serviceTest({ "api-key": ROOT_KEY })
  .extend(
    "cli",
    ({ service }) =>
      (args: readonly string[], apiKey = ROOT_KEY, isTerminal = false): Promise<Run> =>
        run(args, { env: { IRONFLOW_SERVER: service.url, IRONFLOW_API_KEY: apiKey }, isTerminal }),
  )
  .extend("create", ({ cli }) => async (...scopes: string[]): Promise<KeyJson> => {
    const flags = scopes.flatMap((scope) => ["--scope", scope]);
    const { stdout } = await cli(["key", "create", "--name", "test", ...flags, "--json"]);
    return JSON.parse(stdout) as KeyJson;
  });

describe("key create", () => {
  it("prints the bare secret for programs, and it works for its scopes", async ({ cli }) => {
    const made = await cli([
      "key",
      "create",
      "--name",
      "ci",
      "--scope",
      "admin,write:jobs-*",
      "--expires",
      "30d",
    ]);
    const secret = made.stdout.trim();
    expect(secret).toMatch(SECRET);
    expect((await cli(["bucket", "create", "jobs-1"], secret)).exitCode).toBe(0);
    expect((await cli(["put", "jobs-1", "k", "v"], secret)).exitCode).toBe(0);
    expect(await cli(["get", "jobs-1", "k"], secret)).toMatchObject({
      exitCode: 6,
      stderr: 'ironflow-kv: This API key may not read the bucket "jobs-1"; it needs the scope read on it.\n',
    });
  });

  it("shows a person what was made", async ({ cli }) => {
    const args = ["key", "create", "--name", "my key", "--scope", "read:a", "--scope", "watch:*"];
    const { stdout } = await cli(args, ROOT_KEY, true);
    expect(stdout).toMatch(
      /^id {7}[0-9a-f]{16}\nname {5}my key\nscopes {3}read:a watch:\*\nexpires {2}-\n\nifkey_[0-9a-f]{40}\n$/,
    );
  });

  it.for([
    ["without a name", ["--scope", "read:a"]],
    ["without a scope", ["--name", "n"]],
    ["with an unknown access", ["--name", "n", "--scope", "own:a"]],
    ["without buckets", ["--name", "n", "--scope", "read"]],
    ["with empty buckets", ["--name", "n", "--scope", "read:"]],
    ["with a malformed glob", ["--name", "n", "--scope", "read:a.b"]],
    ["with a malformed span", ["--name", "n", "--scope", "read:a", "--expires", "soon"]],
  ] as const)("is wrong usage %s", async ([, flags], { cli }) => {
    expect((await cli(["key", "create", ...flags])).exitCode).toBe(2);
  });
});

describe("key list, revoke and rotate", () => {
  it("list shows keys, not secrets", async ({ create, cli }) => {
    const { id, secret } = await create("read,watch:a-*");
    const listed = await cli(["key", "list"]);
    expect(listed.stdout).toMatch(/^ID +SCOPES +CREATED +EXPIRES +NAME\n/);
    expect(listed.stdout).toMatch(new RegExp(`^${id} +read,watch:a-\\* .* - +test$`, "m"));
    const json = JSON.parse((await cli(["key", "list", "--json"])).stdout) as {
      api_keys: { id: string }[];
      count: number;
    };
    expect(json.count).toBe(json.api_keys.length);
    expect(json.api_keys.find((key) => key.id === id)).toMatchObject({
      name: "test",
      scopes: [{ accesses: ["read", "watch"], buckets: "a-*" }],
    });
    expect(JSON.stringify(json) + listed.stdout).not.toContain(secret);
  });

  it("revoke takes a key back", async ({ create, cli }) => {
    const { id, secret } = await create("read:*");
    expect((await cli(["bucket", "ls"], secret)).exitCode).toBe(0);
    expect(await cli(["key", "revoke", id])).toMatchObject({ exitCode: 0, stdout: "" });
    expect((await cli(["bucket", "ls"], secret)).exitCode).toBe(6);
    expect(await cli(["key", "revoke", id])).toMatchObject({
      exitCode: 3,
      stderr: `ironflow-kv: There is no API key with the ID ${id}.\n`,
    });
  });

  it("rotate prints a new secret; the one before is good for the overlap", async ({ create, cli }) => {
    const { id, secret } = await create("read:*");
    const next = (await cli(["key", "rotate", id, "--overlap", "1h"])).stdout.trim();
    expect(next).toMatch(SECRET);
    for (const good of [secret, next]) expect((await cli(["bucket", "ls"], good)).exitCode).toBe(0);
    const last = (await cli(["key", "rotate", id])).stdout.trim();
    for (const bad of [secret, next]) expect((await cli(["bucket", "ls"], bad)).exitCode).toBe(6);
    expect((await cli(["bucket", "ls"], last)).exitCode).toBe(0);
  });

  it("need a key that may manage keys", async ({ create, cli }) => {
    const { id, secret } = await create("read,write,watch:*", "admin:a*");
    for (const verb of [["list"], ["revoke", id], ["rotate", id]]) {
      expect((await cli(["key", ...verb], secret)).exitCode).toBe(6);
    }
  });
});
