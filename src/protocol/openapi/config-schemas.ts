/** The JSON Schemas of the REST forms of ConfigService. */
import { COUNT, described, type Json, listOf, objectOf, TEXT, TIME } from "./schemas.js";

const DATA: Json = { type: "object" };

/** `nextPage`: the schema of the token of a next page. */
export function configSchemas(nextPage: Json): Record<string, Json> {
  return {
    Config: objectOf({ name: TEXT, data: DATA, revision: COUNT, updatedAt: TIME }),
    ConfigWritten: objectOf({ name: TEXT, revision: COUNT }),
    ConfigList: objectOf(
      {
        configs: listOf(objectOf({ name: TEXT, revision: COUNT, updatedAt: TIME })),
        next_page_token: nextPage,
      },
      ["next_page_token"],
    ),
    ConfigFrame: {
      description: "A frame of the watch of a config. An error is the last frame.",
      oneOf: [
        objectOf({
          type: { const: "config_update" },
          name: TEXT,
          data: described({ anyOf: [DATA, { type: "null" }] }, "null: the config was deleted."),
          revision: COUNT,
          updatedAt: TIME,
        }),
        objectOf({ type: { const: "error" }, message: TEXT }),
      ],
    },
  };
}
