/** Buttons. One that must not be used now stays reachable by keyboard and says why. */
import type { JSX, ReactNode } from "react";
import { Button as AriaButton, type ButtonProps, Tooltip, TooltipTrigger } from "react-aria-components";
import { Icon, type IconName } from "./icons.js";

export interface ActionProps extends Omit<ButtonProps, "children" | "className" | "style"> {
  readonly variant?: "primary" | "plain" | "quiet" | "danger" | undefined;
  readonly icon?: IconName | undefined;
  readonly children?: ReactNode;
  /** Shown instead of `children` to assistive technology, and as the tooltip of a button that has only an icon. */
  readonly label?: string | undefined;
  /** Why the button can't be used. Undefined: it can. */
  readonly reason?: string | undefined;
  readonly className?: string | undefined;
}

export function Button(props: ActionProps): JSX.Element {
  const { variant = "plain", icon, children, label, reason, className = "", onPress, ...others } = props;
  const shape = children === undefined ? "button-icon" : "";
  const accessible = {
    ...(label === undefined ? {} : { "aria-label": label }),
    ...(reason === undefined ? {} : { "aria-disabled": true as const }),
  };
  const button = (
    <AriaButton
      {...others}
      {...accessible}
      {...(reason === undefined && onPress !== undefined ? { onPress } : {})}
      {...(reason === undefined ? {} : { type: "button" as const })}
      className={`button button-${variant} ${shape} ${className}`}
    >
      {icon !== undefined && <Icon name={icon} />}
      {children}
    </AriaButton>
  );
  const hint = reason ?? (children === undefined ? label : undefined);
  if (hint === undefined) return button;
  return (
    <TooltipTrigger delay={reason === undefined ? 600 : 100} closeDelay={0}>
      {button}
      <Tooltip className="tooltip" offset={6}>
        {hint}
      </Tooltip>
    </TooltipTrigger>
  );
}
