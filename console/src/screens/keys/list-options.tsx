/** How the keys are shown: as a list in an order, or as a tree. */
import type { JSX } from "react";
import { ToggleButton, ToggleButtonGroup } from "react-aria-components";
import { KEY_ORDERS, type KeyOrder } from "../../live/sorted-keys.js";
import { SelectField } from "../../ui/field.js";

export type KeyShape = KeyOrder | "tree";

const ORDER_NAMES: Readonly<Record<KeyOrder, string>> = {
  ascending: "Key, A to Z",
  descending: "Key, Z to A",
  changed: "Last changed first",
};

/** Reads the shape from an address. */
export function shapeOf(text: string | undefined): KeyShape {
  return text === "tree" ? text : (KEY_ORDERS.find((order) => order === text) ?? "ascending");
}

export interface ListOptionsProps {
  readonly shape: KeyShape;
  readonly onChange: (shape: KeyShape) => void;
}

export function ListOptions({ shape, onChange }: ListOptionsProps): JSX.Element {
  return (
    <div className="toolbar list-options">
      <ToggleButtonGroup
        className="segments"
        aria-label="Show the keys as"
        disallowEmptySelection
        selectedKeys={[shape === "tree" ? "tree" : "list"]}
        onSelectionChange={(chosen) => onChange(chosen.has("tree") ? "tree" : "ascending")}
      >
        <ToggleButton id="list" className="segment">
          List
        </ToggleButton>
        <ToggleButton id="tree" className="segment">
          Tree
        </ToggleButton>
      </ToggleButtonGroup>
      <span className="spacer" />
      {shape !== "tree" && (
        <SelectField
          isCompact
          label="Sort by"
          value={shape}
          onChange={onChange}
          options={KEY_ORDERS.map((order) => [order, ORDER_NAMES[order]] as const)}
        />
      )}
    </div>
  );
}
