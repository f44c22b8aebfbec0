// Shows /openapi.json with Scalar's API reference. Everything comes from the service: no font, script or call of another host.
/* global Scalar */
const key = sessionStorage.getItem("ironflow-api-key");

Scalar.createApiReference("#reference", {
  url: "/openapi.json",
  servers: [{ url: location.origin }],
  // Operations are linked by their ids, such as #putKey.
  generateOperationSlug: ({ operationId }) => operationId,
  operationTitleSource: "summary",
  defaultOpenAllTags: false,
  withDefaultFonts: false,
  telemetry: false,
  hideClientButton: true,
  showDeveloperTools: "never",
  agent: { disabled: true },
  mcp: { disabled: true },
  // The tabs of the snippets of each operation; other languages stay in the menu.
  featuredClients: ["shell/curl", "node/fetch", "python/requests", "go/native"],
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  authentication: {
    preferredSecurityScheme: "apiKey",
    // The key with which the console is signed in.
    securitySchemes: { apiKey: { token: key ?? "" } },
  },
});
