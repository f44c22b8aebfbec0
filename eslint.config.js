import js from "@eslint/js";
import tseslint from "typescript-eslint";

export default tseslint.config(
  {
    ignores: [
      "**/dist",
      "gen",
      "coverage",
      "data",
      "node_modules",
      "embedded",
      "**/*.mjs",
      "**/*.js",
      "test/clients/openapi",
    ],
  },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/restrict-template-expressions": [
        "error",
        { allowNumber: true, allowBoolean: true },
      ],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-non-null-assertion": "error",
      "@typescript-eslint/unified-signatures": "off",
      "@typescript-eslint/only-throw-error": "off",
    },
  },
  {
    files: ["src/**", "packages/*/src/**", "console/src/**"],
    rules: { "max-lines": ["error", { max: 260, skipBlankLines: true, skipComments: true }] },
  },
);
