/** The environment that the screens show: a namespace of buckets. It is part of the address. */
import { TransportProvider } from "@connectrpc/connect-query";
import { createContext, type JSX, type ReactNode, useContext } from "react";
import { transportOf } from "./transport.js";

export const DEFAULT_ENVIRONMENT = "default";

const Environment = createContext(DEFAULT_ENVIRONMENT);

export interface EnvironmentProviderProps {
  readonly environment: string;
  readonly children: ReactNode;
}

/** Sends the calls of its children to an environment. Responses are cached for each environment. */
export function EnvironmentProvider({ environment, children }: EnvironmentProviderProps): JSX.Element {
  return (
    <Environment value={environment}>
      <TransportProvider transport={transportOf(environment)}>{children}</TransportProvider>
    </Environment>
  );
}

export function useEnvironment(): string {
  return useContext(Environment);
}

/** Why the text is no name of an environment; undefined if it is. */
export function environmentError(text: string): string | undefined {
  return /^[A-Za-z0-9-]{1,32}$/.test(text)
    ? undefined
    : `“${text}” is no name of an environment: use 1 to 32 of A-Z a-z 0-9 -.`;
}
