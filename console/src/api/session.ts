/** The API key of this tab. It is kept in the tab's session storage: closing the tab or logging out removes it. */
import { useSyncExternalStore } from "react";

const STORAGE_KEY = "ironflow-api-key";

export interface Session {
  /** Empty: calls send no key. */
  readonly apiKey: string;
  /** Why the service refused the key, or calls without a key. Undefined: it did not. */
  readonly refusal: string | undefined;
}

type Listeners = Set<() => void>;

let session: Session = { apiKey: sessionStorage.getItem(STORAGE_KEY) ?? "", refusal: undefined };
const listeners: Listeners = new Set();
const signInListeners: Listeners = new Set();
const logOutListeners: Listeners = new Set();

function change(next: Session): void {
  session = next;
  notify(listeners);
}

function notify(all: Listeners): void {
  for (const listener of [...all]) listener();
}

/** Adds a listener. Returns a function that removes it. */
function listen(all: Listeners, listener: () => void): () => void {
  all.add(listener);
  return () => all.delete(listener);
}

export const currentSession = (): Session => session;

/** Uses this key from now on. */
export function signIn(apiKey: string): void {
  sessionStorage.setItem(STORAGE_KEY, apiKey);
  change({ apiKey, refusal: undefined });
  notify(signInListeners);
}

export function logOut(): void {
  sessionStorage.removeItem(STORAGE_KEY);
  change({ apiKey: "", refusal: undefined });
  notify(logOutListeners);
}

/** Records that the service refused a call that was sent with this key. */
export function refuseSession(apiKey: string, refusal: string): void {
  if (apiKey === session.apiKey && refusal !== session.refusal) change({ apiKey, refusal });
}

export const onSignIn = (listener: () => void): (() => void) => listen(signInListeners, listener);
export const onLogOut = (listener: () => void): (() => void) => listen(logOutListeners, listener);

export function useSession(): Session {
  return useSyncExternalStore(
    (listener) => listen(listeners, listener),
    () => session,
  );
}
