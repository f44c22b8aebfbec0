/**
 * The suite's own service: answers each call as the request's `response_definition` says, and echoes what it saw of the request.
 * Its messages come from descriptors read at run time, so that no code of the suite is kept here.
 */
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";

const PACKAGE = "connectrpc.conformance.v1";

/**
 * The implementation on a registry of descriptors. Each function takes the request (or the stream of them) and a call:
 * `{ requestHeaders, timeoutMs, signal, query, responseHeader, responseTrailer }`, where `query` is undefined unless it was a GET.
 */
export function createConformanceService(registry) {
  const payloadOf = registry.getMessage(`${PACKAGE}.ConformancePayload`);
  const requestInfo = registry.getMessage(`${PACKAGE}.ConformancePayload.RequestInfo`);
  const getInfo = registry.getMessage(`${PACKAGE}.ConformancePayload.ConnectGetInfo`);
  const header = registry.getMessage(`${PACKAGE}.Header`);

  function pairs(entries) {
    return [...entries].map(([name, value]) => create(header, { name, value: [value].flat() }));
  }

  function infoOf(call, requests) {
    const info = create(requestInfo, {
      requests: requests.map((request) => anyPack(registry.getMessage(request.$typeName), request)),
    });
    info.requestHeaders = pairs(call.requestHeaders);
    if (call.timeoutMs !== undefined) info.timeoutMs = BigInt(Math.trunc(call.timeoutMs));
    if (call.query !== undefined) {
      const names = new Set(call.query.keys());
      info.connectGetInfo = create(getInfo, {
        queryParams: pairs([...names].map((name) => [name, call.query.getAll(name)])),
      });
    }
    return info;
  }

  function errorOf(definition, info) {
    const error = new ConnectError(
      definition.message ?? "",
      definition.code === 0 ? Code.Unknown : definition.code,
    );
    error.details = definition.details.map((any) => ({
      type: any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1),
      value: any.value,
    }));
    if (info !== undefined) error.details.push({ desc: requestInfo, value: info });
    return error;
  }

  /** One answer for one or more requests; the first says what to answer. */
  async function answerOnce(requests, call, output) {
    const definition = requests[0]?.responseDefinition;
    const info = infoOf(call, requests);
    if (definition !== undefined) {
      addHeaders(call.responseHeader, definition.responseHeaders);
      addHeaders(call.responseTrailer, definition.responseTrailers);
      await sleep(definition.responseDelayMs, call.signal);
      if (definition.response.case === "error") throw errorOf(definition.response.value, info);
    }
    const data = definition?.response.case === "responseData" ? definition.response.value : new Uint8Array(0);
    return create(output, { payload: create(payloadOf, { data, requestInfo: info }) });
  }

  async function* answerEach(definition, call, output, requests) {
    let sent = 0;
    for (const data of definition?.responseData ?? []) {
      await sleep(definition.responseDelayMs, call.signal);
      yield responseOf(output, data, sent === 0 ? infoOf(call, requests) : undefined);
      sent++;
    }
    if (definition?.error !== undefined) {
      throw errorOf(definition.error, sent === 0 ? infoOf(call, requests) : undefined);
    }
  }

  function responseOf(output, data, info) {
    return create(output, {
      payload: create(payloadOf, info === undefined ? { data } : { data, requestInfo: info }),
    });
  }

  function outputOf(method) {
    return registry.getMessage(`${PACKAGE}.${method}Response`);
  }

  return {
    unary: (request, call) => answerOnce([request], call, outputOf("Unary")),
    idempotentUnary: (request, call) => answerOnce([request], call, outputOf("IdempotentUnary")),
    async unimplemented() {
      throw new ConnectError(
        `${PACKAGE}.ConformanceService.Unimplemented is not implemented`,
        Code.Unimplemented,
      );
    },

    async clientStream(requests, call) {
      const all = [];
      for await (const request of requests) all.push(request);
      return answerOnce(all, call, outputOf("ClientStream"));
    },

    // Headers are sent when the stream is in place, so that they are set before its first step.
    serverStream(request, call) {
      const definition = request.responseDefinition;
      addHeaders(call.responseHeader, definition?.responseHeaders);
      addHeaders(call.responseTrailer, definition?.responseTrailers);
      return answerEach(definition, call, outputOf("ServerStream"), [request]);
    },

    async *bidiStream(requests, call) {
      const output = outputOf("BidiStream");
      let definition;
      let isFullDuplex = false;
      let isFirst = true;
      let waiting = [];
      let sent = 0;
      for await (const request of requests) {
        waiting.push(request);
        if (isFirst) {
          isFirst = false;
          definition = request.responseDefinition;
          isFullDuplex = request.fullDuplex;
          addHeaders(call.responseHeader, definition?.responseHeaders);
          addHeaders(call.responseTrailer, definition?.responseTrailers);
        }
        if (!isFullDuplex) continue;
        if (sent >= (definition?.responseData.length ?? 0)) break;
        await sleep(definition.responseDelayMs, call.signal);
        const info = sent === 0 ? infoOf(call, waiting) : infoOf({ requestHeaders: [] }, waiting);
        yield responseOf(output, definition.responseData[sent], info);
        sent++;
        waiting = [];
      }
      for (const data of definition?.responseData.slice(sent) ?? []) {
        await sleep(definition.responseDelayMs, call.signal);
        yield responseOf(output, data, sent === 0 ? infoOf(call, waiting) : undefined);
        sent++;
      }
      if (definition?.error !== undefined) {
        throw errorOf(definition.error, sent === 0 ? infoOf(call, waiting) : undefined);
      }
    },
  };
}

function addHeaders(target, headers = []) {
  for (const { name, value } of headers) for (const one of value) target.append(name, one);
}

/** Waits; rejects with the signal's reason as soon as it aborts. */
function sleep(delayMs, signal) {
  if (delayMs === 0) return Promise.resolve();
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, delayMs);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
