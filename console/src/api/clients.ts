/** Clients for calls that are no queries: streams, and work in several steps. */
import { type Client, createClient } from "@connectrpc/connect";
import { useTransport } from "@connectrpc/connect-query";
import { KeyValueService } from "@ironflow-kv/client/gen";
import { useMemo } from "react";

export type KeyValueClient = Client<typeof KeyValueService>;

/** The client of the environment that the screen shows. */
export function useKeyValue(): KeyValueClient {
  const transport = useTransport();
  return useMemo(() => createClient(KeyValueService, transport), [transport]);
}
