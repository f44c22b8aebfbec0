/** What the API key of the session may do, and the state of the service. */
import { useQuery } from "@connectrpc/connect-query";
import { Access as AccessNumber, type Caller, StatusService } from "@ironflow-kv/client/gen";
import { DEFAULT_ENVIRONMENT, useEnvironment } from "./environment.js";

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

/** Returns why the key may not do this with the bucket of the environment; undefined if it may, or while that is not known. */
export function useDenial(): (access: Access, bucket: string) => string | undefined {
  const { data } = useStatus();
  const environment = useEnvironment();
  const caller = data?.caller;
  return (access, bucket) =>
    caller === undefined || allows(caller, access, `${environment}/${bucket}`)
      ? undefined
      : `This API key may not ${NEEDS[access]}: it needs the scope ${access} on it.`;
}

/** Returns why the key may not manage the service; undefined if it may, or while that is not known. */
export function useAdminDenial(): string | undefined {
  const { data } = useStatus();
  return data?.caller === undefined || allows(data.caller, "admin", "*")
    ? undefined
    : "This API key may not do this: it needs the scope admin on *.";
}

function allows({ scopes }: Caller, access: Access, bucket: string): boolean {
  return scopes.some(
    ({ accesses, buckets }) => accesses.includes(NUMBERS[access]) && matches(buckets, bucket),
  );
}

/** Without an environment, a scope and a bucket are of the default one. `*` as a bucket: only a scope on all of them matches. */
function matches(scope: string, bucket: string): boolean {
  const [environment, name] = splitName(scope);
  const [bucketEnvironment, bucketName] = splitName(bucket);
  return matchesText(environment, bucketEnvironment) && matchesText(name, bucketName);
}

function splitName(text: string): [environment: string, name: string] {
  const slash = text.indexOf("/");
  return slash === -1 ? [DEFAULT_ENVIRONMENT, text] : [text.slice(0, slash), text.slice(slash + 1)];
}

function matchesText(glob: string, text: string): boolean {
  const parts = glob.split("*").map((part) => part.replace(/[^\w]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(text);
}

/** Whether the key may create a bucket of some name in the environment. */
export function useMayCreateBuckets(): boolean {
  const { data } = useStatus();
  const environment = useEnvironment();
  return (
    data?.caller?.scopes.some(
      ({ accesses, buckets }) =>
        accesses.includes(AccessNumber.ADMIN) && matchesText(splitName(buckets)[0], environment),
    ) ?? true
  );
}
