/** A menu of actions behind a button. */
import type { JSX } from "react";
import { Menu as AriaMenu, MenuItem, MenuTrigger, Popover, Text } from "react-aria-components";
import { Button } from "./button.js";
import { Icon, type IconName } from "./icons.js";

export interface MenuAction {
  readonly name: string;
  readonly icon: IconName;
  readonly isDangerous?: boolean;
  /** Why it can't be used. Undefined: it can. */
  readonly reason?: string | undefined;
  readonly run: () => void;
}

export function Menu({
  label,
  actions,
}: {
  readonly label: string;
  readonly actions: readonly MenuAction[];
}): JSX.Element {
  return (
    <MenuTrigger>
      <Button variant="quiet" icon="more" aria-label={label} />
      <Popover className="menu-popover" placement="bottom end" offset={4}>
        <AriaMenu className="menu">
          {actions.map(({ name, icon, isDangerous = false, reason, run }) => (
            <MenuItem
              key={name}
              className={`menu-item ${isDangerous ? "menu-item-danger" : ""}`}
              textValue={name}
              isDisabled={reason !== undefined}
              onAction={run}
            >
              <Icon name={icon} />
              <span>
                <Text slot="label">{name}</Text>
                {reason !== undefined && (
                  <Text slot="description" className="hint menu-reason">
                    {reason}
                  </Text>
                )}
              </span>
            </MenuItem>
          ))}
        </AriaMenu>
      </Popover>
    </MenuTrigger>
  );
}
