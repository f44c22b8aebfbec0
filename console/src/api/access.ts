/** What the API key of the session may do, and the state of the service. */
import { useQuery } from "@connectrpc/connect-query";
import { Access as AccessNumber, type Caller, StatusService } from "@ironflow-kv/client/gen";

export type Access = "read" | "write" | "watch" | "admin";

const NUMBERS: Readonly<Record<Access, AccessNumber>> = {
  read: AccessNumber.READ,
  write: AccessNumber.WRITE,
  watch: AccessNumber.WATCH,
  admin: AccessNumber.ADMIN,
};
const NEEDS: Readonly<Record<Access, string>> = {
  read: "read this bucket",
  write: "write to this bucket",
  watch: "watch this bucket",
  admin: "create, change or delete this bucket",
};

/** `intervalMs`: how often to ask again. Default: never. */
export function useStatus(intervalMs?: number) {
  return useQuery(StatusService.method.getStatus, {}, { refetchInterval: intervalMs ?? false });
}

/** Returns why the key may not do this with the bucket (`*`: with all buckets); undefined if it may, or while that is not known. */
export function useDenial(): (access: Access, bucket: string) => string | undefined {
  const { data } = useStatus();
  const caller = data?.caller;
  return (access, bucket) => {
    if (caller === undefined || allows(caller, access, bucket)) return undefined;
    return bucket === "*"
      ? `This API key may not do this: it needs the scope ${access} on *.`
      : `This API key may not ${NEEDS[access]}: it needs the scope ${access} on it.`;
  };
}

/** Whether one of the scopes allows it. A scope on `*` covers every bucket; only such a scope covers all. */
function allows({ scopes }: Caller, access: Access, bucket: string): boolean {
  return scopes.some(
    ({ accesses, buckets }) =>
      accesses.includes(NUMBERS[access]) &&
      (bucket === "*" ? /^\*+$/.test(buckets) : matches(buckets, bucket)),
  );
}

function matches(pattern: string, bucket: string): boolean {
  const expression = pattern
    .split("*")
    .map((part) => part.replace(/[^\w]/g, "\\$&"))
    .join(".*");
  return new RegExp(`^${expression}$`).test(bucket);
}

/** Whether the key may create a bucket of some name. */
export function useMayCreateBuckets(): boolean {
  const { data } = useStatus();
  return data?.caller?.scopes.some(({ accesses }) => accesses.includes(AccessNumber.ADMIN)) ?? true;
}
