/** The API keys of the service: create, rotate, revoke. */
import { Code } from "@connectrpc/connect";
import { createConnectQueryKey, useMutation, useQuery } from "@connectrpc/connect-query";
import { type ApiKey, ApiKeyService } from "@ironflow-kv/client/gen";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type JSX, useState } from "react";
import { useAdminDenial } from "../../api/access.js";
import { hasCode, sentenceOf } from "../../api/errors.js";
import { queryClient } from "../../api/query-client.js";
import { Button } from "../../ui/button.js";
import { Confirm } from "../../ui/confirm.js";
import { useShortcuts } from "../../ui/shortcuts.js";
import { Empty, Loading, Notice } from "../../ui/states.js";
import { toast } from "../../ui/toast.js";
import { CreateApiKey } from "./create-api-key.js";
import { ApiKeyTable } from "./api-key-table.js";
import { RotateApiKey } from "./rotate-api-key.js";
import { SecretDialog } from "./secret-dialog.js";

const { listApiKeys, revokeApiKey } = ApiKeyService.method;

export function refreshApiKeys(): Promise<unknown> {
  return queryClient.invalidateQueries({
    queryKey: createConnectQueryKey({ schema: listApiKeys, cardinality: "finite" }),
  });
}

export function ApiKeysScreen(): JSX.Element {
  const { create } = useSearch({ from: "/api-keys" });
  const navigate = useNavigate();
  const reason = useAdminDenial();
  const { data, error, isPending } = useQuery(listApiKeys, {});
  const [secret, setSecret] = useState<string>();
  const [rotating, setRotating] = useState<ApiKey>();
  const [revoking, setRevoking] = useState<ApiKey>();
  const revoke = useMutation(revokeApiKey);
  const setCreating = (isCreating: boolean): void =>
    void navigate({ to: "/api-keys", search: isCreating ? { create: "key" } : {} });
  useShortcuts({
    n: () => {
      if (reason === undefined) setCreating(true);
    },
  });
  const show = (made: string): void => {
    setCreating(false);
    setRotating(undefined);
    setSecret(made);
    void refreshApiKeys();
  };
  return (
    <div className="page">
      <header className="page-head">
        <h1>API keys</h1>
        <span className="spacer" />
        <Button variant="primary" icon="plus" reason={reason} onPress={() => setCreating(true)}>
          New API key
        </Button>
      </header>
      {isPending && <Loading what="the API keys" />}
      {error !== null && (
        <Notice kind={hasCode(error, Code.PermissionDenied) ? "info" : "error"}>{sentenceOf(error)}</Notice>
      )}
      {data?.apiKeys.length === 0 && (
        <Empty title="There is no API key">
          <p className="soft">
            Unless IRONFLOW_API_KEY is set, calls need no key now. After the first key is created, every call
            needs one: the first key must have all access to all buckets, so that it can create the others.
          </p>
        </Empty>
      )}
      {data !== undefined && data.apiKeys.length > 0 && (
        <ApiKeyTable apiKeys={data.apiKeys} onRotate={setRotating} onRevoke={setRevoking} />
      )}
      <CreateApiKey isOpen={create !== undefined} onClose={() => setCreating(false)} onCreated={show} />
      <RotateApiKey apiKey={rotating} onClose={() => setRotating(undefined)} onRotated={show} />
      <SecretDialog secret={secret} onClose={() => setSecret(undefined)} />
      <Confirm
        title={`Revoke ${revoking?.name ?? ""}?`}
        action="Revoke"
        isOpen={revoking !== undefined}
        isBusy={revoke.isPending}
        error={revoke.error === null ? undefined : sentenceOf(revoke.error)}
        onClose={() => setRevoking(undefined)}
        onConfirm={() =>
          revoke.mutate(
            { id: revoking?.id ?? "" },
            {
              onSuccess: () => {
                toast("Revoked the API key.");
                setRevoking(undefined);
                void refreshApiKeys();
              },
            },
          )
        }
      >
        <p>Calls with this key are refused within a second, and its watches end. This can't be undone.</p>
      </Confirm>
    </div>
  );
}
