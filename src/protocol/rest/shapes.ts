/** The table of REST forms by method. A method without an entry uses ProtoJSON with snake_case names. */
import type { DescMethod } from "@bufbuild/protobuf";
import { API_KEY_SHAPES } from "./api-key-shapes.js";
import { BUCKET_SHAPES } from "./bucket-shapes.js";
import { CONFIG_SHAPES } from "./config-shapes.js";
import { KEY_VALUE_SHAPES } from "./key-value-shapes.js";
import type { Shape } from "./shape.js";

/** The shapes of the contract's methods. */
export const SHAPES: ReadonlyMap<DescMethod, Shape> = new Map([
  ...BUCKET_SHAPES,
  ...KEY_VALUE_SHAPES,
  ...API_KEY_SHAPES,
  ...CONFIG_SHAPES,
]);
