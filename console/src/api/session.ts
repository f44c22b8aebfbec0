/** The API key of this tab. It is kept in the tab's session storage: closing the tab or logging out removes it. */
import { useSyncExternalStore } from "react";

const STORAGE_KEY = "ironflow-api-key";

export interface Session {
  /** Empty: calls send no key. */
  readonly apiKey: string;
  /** Why the service refused the key, or calls without a key. Undefined: it did not. */
  readonly refusal: string | undefined;
}

let session: Session = { apiKey: sessionStorage.getItem(STORAGE_KEY) ?? "", refusal: undefined };
const listeners = new Set<() => void>();

function change(next: Session): void {
  session = next;
  for (const listener of listeners) listener();
}

export const currentSession = (): Session => session;

/** Uses this key from now on. */
export function signIn(apiKey: string): void {
  sessionStorage.setItem(STORAGE_KEY, apiKey);
  change({ apiKey, refusal: undefined });
}

export function logOut(): void {
  sessionStorage.removeItem(STORAGE_KEY);
  change({ apiKey: "", refusal: undefined });
}

/** Records that the service refused a call that was sent with this key. */
export function refuseSession(apiKey: string, refusal: string): void {
  if (apiKey === session.apiKey && refusal !== session.refusal) change({ apiKey, refusal });
}

export function useSession(): Session {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => session,
  );
}
