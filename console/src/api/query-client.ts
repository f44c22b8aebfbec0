/** The cache of responses, shared by all screens. */
import { QueryClient } from "@tanstack/react-query";
import { isFinal } from "./errors.js";
import { onBack } from "./connection.js";

const RETRIES_MAX = 2;

export const queryClient = new QueryClient({
  defaultOptions: {
    queries: {
      // The service is often on this machine: being offline says nothing.
      networkMode: "always",
      retry: (failures, error) => failures < RETRIES_MAX && !isFinal(error),
      staleTime: 2_000,
      refetchOnWindowFocus: true,
    },
    mutations: { networkMode: "always", retry: false },
  },
});

onBack(() => void queryClient.invalidateQueries());
