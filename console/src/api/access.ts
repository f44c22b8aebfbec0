/** What the API key of the session may do. */
import { useSession } from "./session.js";

export type Access = "read" | "write" | "watch" | "admin";

/** Returns why the key may not do this with the bucket (`*`: with all buckets); undefined if it may, or while that is not known. */
export function useDenial(): (access: Access, bucket: string) => string | undefined {
  useSession();
  return () => undefined;
}
