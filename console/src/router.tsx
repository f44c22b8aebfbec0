/** The screens and their addresses. Everything that a screen shows is in its address, so links and reloads keep the place. */
import { createRootRoute, createRoute, createRouter, retainSearchParams } from "@tanstack/react-router";
import { NotFound } from "./screens/not-found.js";
import { BucketScreen } from "./screens/buckets/bucket-screen.js";
import { BucketsScreen } from "./screens/buckets/buckets-screen.js";
import { ApiKeysScreen } from "./screens/api-keys/api-keys-screen.js";
import { LiveScreen } from "./screens/live/live-screen.js";
import { Shell } from "./screens/shell/shell.js";
import { StatusScreen } from "./screens/status/status-screen.js";

const BASE = "/console";
export const HOME = `${BASE}/buckets`;

const root = createRootRoute({
  component: Shell,
  notFoundComponent: NotFound,
  validateSearch: (search: Record<string, unknown>) => pick(search, "env"),
  search: { middlewares: [retainSearchParams(["env"])] },
});

const buckets = createRoute({
  getParentRoute: () => root,
  path: "/buckets",
  validateSearch: (search: Record<string, unknown>) => pick(search, "find", "create", "sort"),
  component: BucketsScreen,
});

const bucket = createRoute({
  getParentRoute: () => root,
  path: "/buckets/$bucket",
  validateSearch: (search: Record<string, unknown>) =>
    pick(search, "find", "sort", "open", "at", "key", "view", "form", "newer", "older", "dialog"),
  component: BucketScreen,
});

const live = createRoute({
  getParentRoute: () => root,
  path: "/live",
  validateSearch: (search: Record<string, unknown>) => pick(search, "bucket", "filter"),
  component: LiveScreen,
});

const status = createRoute({ getParentRoute: () => root, path: "/status", component: StatusScreen });

const apiKeys = createRoute({
  getParentRoute: () => root,
  path: "/api-keys",
  validateSearch: (search: Record<string, unknown>) => pick(search, "create"),
  component: ApiKeysScreen,
});

export const router = createRouter({
  routeTree: root.addChildren([buckets, bucket, live, status, apiKeys]),
  basepath: BASE,
  // Plain text: a key such as `123` or `true` stays text.
  parseSearch: (search) => Object.fromEntries(new URLSearchParams(search)),
  stringifySearch: (search) => {
    const set = Object.entries(search).filter(
      (pair): pair is [string, string] => typeof pair[1] === "string" && pair[1] !== "",
    );
    return set.length === 0 ? "" : `?${new URLSearchParams(set).toString()}`;
  },
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}

/** The named search parameters that are set. */
function pick<Name extends string>(
  search: Record<string, unknown>,
  ...names: readonly Name[]
): { [Key in Name]?: string | undefined } {
  const picked: { [Key in Name]?: string | undefined } = {};
  for (const name of names) {
    const value = search[name];
    if (typeof value === "string" && value !== "") picked[name] = value;
  }
  return picked;
}
