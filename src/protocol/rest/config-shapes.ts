/** The REST form of ConfigService, as the SDKs of Ironflow read it: names in camelCase, data as JSON. */
import type { IncomingHttpHeaders } from "node:http";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { ConfigService } from "../../../gen/ironflow/kv/v1/config_service_pb.js";
import { entityTag, matchesEntry } from "./entity-tag.js";
import { badRequest, Refusal } from "./errors.js";
import { checkIfNoneMatchOfWrite, tagOfIfMatch } from "./headers.js";
import { writeJson, writeTime } from "./json.js";
import { type Answer, emptyAnswer, jsonAnswer, shapeOf } from "./shape.js";

/** A config, with its data as JSON text. */
interface State {
  readonly name: string;
  readonly data: string;
  readonly revision: bigint;
  readonly updatedAt?: Timestamp | undefined;
}

export const CONFIG_SHAPES = [
  shapeOf(ConfigService.method.setConfig, {
    withoutParameters: ["if_revision", "if_absent"],
    tooLargeCode: "value_too_large",
    readHeaders({ headers, request }) {
      const ifNoneMatch = headers["if-none-match"];
      const value = revisionOfIfMatch(headers["if-match"]);
      if (value !== undefined && ifNoneMatch !== undefined)
        throw badRequest("If-Match and If-None-Match are both set; a write takes one of them.");
      if (value !== undefined) request.condition = { case: "ifRevision", value };
      if (ifNoneMatch === undefined) return;
      checkIfNoneMatchOfWrite(ifNoneMatch);
      request.condition = { case: "ifAbsent", value: true };
    },
    answer: writtenAnswer,
  }),

  shapeOf(ConfigService.method.getConfig, {
    answer(state, { headers }) {
      const etag = entityTag(state.revision, undefined);
      const { "if-match": ifMatch, "if-none-match": ifNoneMatch } = headers;
      if (ifMatch !== undefined && !matchesEntry(ifMatch, state.revision, undefined)) {
        const sentence = `The config's ETag is ${etag}, which If-Match does not name.`;
        throw new Refusal(412, "revision_mismatch", sentence, { etag });
      }
      if (ifNoneMatch !== undefined && matchesEntry(ifNoneMatch, state.revision, undefined))
        return { status: 304, headers: { etag, "cache-control": "no-cache" }, body: undefined };
      return jsonAnswer(200, `{${membersOf(state)}}`, { etag });
    },
  }),

  shapeOf(ConfigService.method.patchConfig, {
    withoutParameters: ["if_revision"],
    tooLargeCode: "value_too_large",
    readHeaders({ headers, request }) {
      checkNoIfNoneMatch(headers, "patch");
      request.ifRevision = revisionOfIfMatch(headers["if-match"]) ?? 0n;
    },
    answer: writtenAnswer,
  }),

  shapeOf(ConfigService.method.deleteConfig, {
    withoutParameters: ["if_revision"],
    readHeaders({ headers, request }) {
      checkNoIfNoneMatch(headers, "delete");
      request.ifRevision = revisionOfIfMatch(headers["if-match"]) ?? 0n;
    },
    answer: emptyAnswer,
  }),

  shapeOf(ConfigService.method.listConfigs, {
    list: {
      begin: () => `{"configs":[`,
      items: ({ configs }) =>
        configs.map(({ name, revision, updatedAt }) =>
          writeJson({ name, revision, updatedAt: updatedAt && writeTime(updatedAt) }),
        ),
      end: (_, token) => `]${token === "" ? "" : `,"next_page_token":${JSON.stringify(token)}`}}`,
    },
  }),

  shapeOf(ConfigService.method.watchConfig, {
    parameters: { token: { read: (call, text) => (call.options.token = text) } },
    frame: (state) => ({ json: `{"type":"config_update",${membersOf(state)}}`, revision: state.revision }),
  }),
];

/** `data` is null in the frame of a deleted config. */
function membersOf({ name, data, revision, updatedAt }: State): string {
  const time = updatedAt === undefined ? "" : `,"updatedAt":"${writeTime(updatedAt)}"`;
  return `"name":${JSON.stringify(name)},"data":${data === "" ? "null" : data},"revision":${revision}${time}`;
}

function writtenAnswer({ name, revision }: { readonly name: string; readonly revision: bigint }): Answer {
  return jsonAnswer(200, writeJson({ name, revision }), { etag: entityTag(revision, undefined) });
}

function revisionOfIfMatch(header: string | undefined): bigint | undefined {
  return header === undefined ? undefined : tagOfIfMatch(header).revision;
}

function checkNoIfNoneMatch(headers: IncomingHttpHeaders, call: string): void {
  if (headers["if-none-match"] === undefined) return;
  throw badRequest(`If-None-Match is set; a ${call} takes If-Match only.`);
}
