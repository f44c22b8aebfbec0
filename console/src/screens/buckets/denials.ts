import { type Access, useDenial } from "../../api/access.js";

/** Why the key may not do something with a bucket, by kind of access. Undefined: it may. */
export type Denials = Readonly<Record<Access, string | undefined>>;

export function useDenials(bucket: string): Denials {
  const denial = useDenial();
  return {
    read: denial("read", bucket),
    write: denial("write", bucket),
    watch: denial("watch", bucket),
    admin: denial("admin", bucket),
  };
}
