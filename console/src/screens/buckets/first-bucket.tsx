/** What the console shows before there is a bucket. */
import type { JSX } from "react";
import { DEFAULT_ENVIRONMENT, useEnvironment } from "../../api/environment.js";
import { Button } from "../../ui/button.js";
import { CodeSample } from "../../ui/code-sample.js";
import { Empty } from "../../ui/states.js";
import { curlToCreateBucket, curlToPut } from "../keys/commands.js";

export function FirstBucket({
  reason,
  onCreate,
}: {
  readonly reason: string | undefined;
  readonly onCreate: () => void;
}): JSX.Element {
  const environment = useEnvironment();
  const options = environment === DEFAULT_ENVIRONMENT ? "" : `, environment: "${environment}"`;
  const typescript = `import { createClient } from "@ironflow-kv/client";

const kv = createClient({ serverUrl: "${location.origin}"${options} }).kv();
await kv.createBucket({ name: "sessions" });
await kv.bucket("sessions").put("user.1", { name: "Alice" });`;
  return (
    <Empty title="There is no bucket yet">
      <p className="soft">
        A bucket is a set of keys with common settings: how long entries live, how many revisions are kept,
        how large it may become. Create the first one here, from a terminal or from a program.
      </p>
      <Button variant="primary" icon="plus" reason={reason} onPress={onCreate}>
        Create the first bucket
      </Button>
      <CodeSample
        title="curl"
        code={`${curlToCreateBucket(environment, "sessions")}\n${curlToPut(environment, "sessions", "user.1", '{"name":"Alice"}')}`}
      />
      <CodeSample title="TypeScript" code={typescript} />
    </Empty>
  );
}
