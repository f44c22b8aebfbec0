/** Starts the console. */
import { QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { createRoot } from "react-dom/client";
import { decodeTextFast } from "./api/text-encoding.js";
import { queryClient } from "./api/query-client.js";
import { HOME, router } from "./router.js";
import { applyTheme } from "./ui/theme.js";
import "./styles/index.css";

decodeTextFast();
applyTheme();
if (location.pathname === "/" || /^\/console\/?$/.test(location.pathname))
  history.replaceState(null, "", HOME);

const root = document.getElementById("root");
if (root === null) throw new Error("The page has no element with the ID root.");
createRoot(root).render(
  <QueryClientProvider client={queryClient}>
    <RouterProvider router={router} />
  </QueryClientProvider>,
);
