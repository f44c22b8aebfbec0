import type { JSX } from "react";
import { useQuery } from "@connectrpc/connect-query";
import { BucketService } from "@ironflow-kv/client/gen";
import { sentenceOf } from "../../api/errors.js";
import { formatBytes, formatKeys } from "../../ui/format.js";
import { Loading, Notice } from "../../ui/states.js";

export function BucketsScreen(): JSX.Element {
  const { data, error, isPending } = useQuery(BucketService.method.listBuckets, {});
  if (isPending) return <Loading what="the buckets" />;
  if (data === undefined) return <Notice>{sentenceOf(error)}</Notice>;
  return (
    <>
      <h1>Buckets</h1>
      <ul>
        {data.buckets.map(({ name, values, bytes }) => (
          <li key={name}>
            {name} {formatKeys(values)} {formatBytes(bytes)}
          </li>
        ))}
      </ul>
    </>
  );
}
