/** The REST forms of BatchGet and DeleteKeys. */
import { KeyValueService } from "../../../gen/ironflow/kv/v1/key_value_service_pb.js";
import { Consistency } from "../../../gen/ironflow/kv/v1/types_pb.js";
import { LargeValues } from "../large-values.js";
import { entryJson } from "./entry-json.js";
import { writeJson } from "./json.js";
import { readBoolean, readConsistency, readCount, readMembers, readText, readTexts } from "./json-fields.js";
import { jsonAnswer, shapeOf } from "./shape.js";

const UINT32_MAX = 0xffff_ffff;

const DELETE_KEYS_MEMBERS = {
  filters: readTexts,
  purge: readBoolean,
  limit: readCount(UINT32_MAX),
  page_token: readText,
};

const BATCH_GET_MEMBERS = {
  keys: readTexts,
  revision: readCount(Number.MAX_SAFE_INTEGER),
  consistency: readConsistency,
};

export const BATCH_SHAPES = [
  shapeOf(KeyValueService.method.deleteKeys, {
    readBody(body, request) {
      const members = readMembers(body, DELETE_KEYS_MEMBERS, true);
      request.filters = members.filters ?? [];
      request.purge = members.purge ?? false;
      request.limit = members.limit ?? 0;
      request.pageToken = members.page_token ?? "";
    },
    answer({ deleted, skipped, revision, remainingMax, nextPageToken }) {
      const next =
        nextPageToken === "" ? {} : { remaining_max: remainingMax, next_page_token: nextPageToken };
      return jsonAnswer(200, writeJson({ deleted, skipped, revision, ...next }));
    },
  }),

  shapeOf(KeyValueService.method.batchGet, {
    readBody(body, request) {
      const members = readMembers(body, BATCH_GET_MEMBERS, true);
      request.keys = members.keys ?? [];
      request.revision = BigInt(members.revision ?? 0);
      request.consistency = members.consistency ?? Consistency.UNSPECIFIED;
    },
    async answer({ results, revision, unreadKeys }, call) {
      const large = new LargeValues();
      const items = results.map(({ key, entry }) => {
        const text = entry === undefined ? "null" : entryJson(entry, large);
        return `{"key":${JSON.stringify(key)},"entry":${text}}`;
      });
      const unread = unreadKeys.length === 0 ? "" : `,"unread_keys":${JSON.stringify(unreadKeys)}`;
      const text = `{"results":[${items.join(",")}],"revision":${revision}${unread}}`;
      return { ...jsonAnswer(200, ""), body: await large.encodeInTurns(text, call.connection) };
    },
  }),
];
