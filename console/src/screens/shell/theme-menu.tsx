import { type JSX, useState } from "react";
import { Button } from "../../ui/button.js";
import { applyTheme, currentTheme, type Theme } from "../../ui/theme.js";

const NEXT: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
const ICONS = { system: "auto", light: "sun", dark: "moon" } as const;
const NAMES: Readonly<Record<Theme, string>> = {
  system: "System theme",
  light: "Light theme",
  dark: "Dark theme",
};

export function ThemeMenu(): JSX.Element {
  const [theme, setTheme] = useState(currentTheme);
  return (
    <Button
      variant="quiet"
      icon={ICONS[theme]}
      className="nav-button"
      label={`${NAMES[theme]}; change to ${NAMES[NEXT[theme]].toLowerCase()}`}
      onPress={() => {
        setTheme(NEXT[theme]);
        applyTheme(NEXT[theme]);
      }}
    >
      {NAMES[theme]}
    </Button>
  );
}
