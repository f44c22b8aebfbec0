/** Clients for calls that are no queries: streams, and work in several steps. */
import { createClient } from "@connectrpc/connect";
import { KeyValueService } from "@ironflow-kv/client/gen";
import { transport } from "./transport.js";

export const keyValue = createClient(KeyValueService, transport);
