// connect-web in a page: Connect and gRPC-Web.
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { KeyValueService } from "@ironflow-kv/client/gen";
import { callAll } from "./calls.mjs";

export function run({ url, protocol, ...options }) {
  const create = protocol === "Connect" ? createConnectTransport : createGrpcWebTransport;
  const client = createClient(KeyValueService, create({ baseUrl: url }));
  const headersOf = (apiKey) => (apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` });
  return callAll(
    {
      unary: (method, request, apiKey) => client[method](request, { headers: headersOf(apiKey) }),
      watch: (request, apiKey, timeoutMs) => client.watch(request, { headers: headersOf(apiKey), timeoutMs }),
      nameOf: (code) => Code[code],
    },
    options,
  );
}
