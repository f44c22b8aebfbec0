import { useMutation } from "@connectrpc/connect-query";
import { Access, ApiKeyService } from "@ironflow-kv/client/gen";
import { type JSX, useState } from "react";
import { sentenceOf } from "../../api/errors.js";
import { Button } from "../../ui/button.js";
import { Dialog, DialogActions } from "../../ui/dialog.js";
import { Checkbox, TextField } from "../../ui/field.js";
import { parseSeconds } from "../../ui/format.js";
import { Notice } from "../../ui/states.js";
import { ACCESSES } from "./access-names.js";

export interface CreateApiKeyProps {
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly onCreated: (secret: string) => void;
}

interface ScopeDraft {
  readonly buckets: string;
  readonly accesses: readonly Access[];
}

const FIRST_SCOPE: ScopeDraft = { buckets: "*", accesses: [Access.READ, Access.WATCH] };

export function CreateApiKey(props: CreateApiKeyProps): JSX.Element {
  return (
    <Dialog title="New API key" isOpen={props.isOpen} onClose={props.onClose}>
      <Form {...props} />
    </Dialog>
  );
}

function Form({ onClose, onCreated }: CreateApiKeyProps): JSX.Element {
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<readonly ScopeDraft[]>([FIRST_SCOPE]);
  const [expiry, setExpiry] = useState("");
  const create = useMutation(ApiKeyService.method.createApiKey);
  const seconds = parseSeconds(expiry);
  const reason =
    name === ""
      ? "Enter a name first."
      : scopes.some(({ accesses, buckets }) => accesses.length === 0 || buckets === "")
        ? "Each scope needs a bucket and at least one kind of access."
        : seconds === undefined
          ? "The expiry is not a time."
          : create.isPending
            ? "The key is being created."
            : undefined;
  const replace = (index: number, scope: ScopeDraft): void =>
    setScopes(scopes.map((one, at) => (at === index ? scope : one)));
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (reason !== undefined) return;
        create.mutate(
          {
            name,
            scopes: scopes.map(({ buckets, accesses }) => ({ buckets, accesses: [...accesses] })),
            ...(seconds === undefined || seconds === 0
              ? {}
              : { expiresIn: { seconds: BigInt(Math.ceil(seconds)) } }),
          },
          { onSuccess: ({ secret }) => onCreated(secret) },
        );
      }}
    >
      <TextField
        label="Name"
        autoFocus
        value={name}
        onChange={setName}
        description="For people: who or what uses the key."
      />
      {scopes.map((scope, index) => (
        <fieldset key={index} className="scope">
          <legend className="label">{scopes.length === 1 ? "Scope" : `Scope ${index + 1}`}</legend>
          <TextField
            label="Buckets"
            isMono
            value={scope.buckets}
            onChange={(buckets) => replace(index, { ...scope, buckets })}
            description="A name, in which * stands for any characters. * alone: all buckets. Those of an environment: staging/*; all of all environments: */*."
          />
          {ACCESSES.map(([access, title, what]) => (
            <Checkbox
              key={access}
              isSelected={scope.accesses.includes(access)}
              onChange={(isSelected) =>
                replace(index, {
                  ...scope,
                  accesses: isSelected
                    ? [...scope.accesses, access]
                    : scope.accesses.filter((one) => one !== access),
                })
              }
            >
              <span>
                {title} <span className="soft">{what}</span>
              </span>
            </Checkbox>
          ))}
          {scopes.length > 1 && (
            <Button
              variant="quiet"
              icon="trash"
              onPress={() => setScopes(scopes.filter((_, at) => at !== index))}
            >
              Remove scope
            </Button>
          )}
        </fieldset>
      ))}
      <div>
        <Button
          variant="quiet"
          icon="plus"
          onPress={() => setScopes([...scopes, { buckets: "", accesses: [Access.READ] }])}
        >
          Add a scope
        </Button>
      </div>
      <TextField
        label="Expires after"
        value={expiry}
        onChange={setExpiry}
        placeholder="never"
        error={seconds === undefined ? "Write a time such as 12h or 90d." : undefined}
        description="Such as 12h or 90d. Empty: never."
      />
      {create.error !== null && <Notice>{sentenceOf(create.error)}</Notice>}
      <DialogActions>
        <Button onPress={onClose}>Cancel</Button>
        <Button type="submit" variant="primary" reason={reason}>
          Create API key
        </Button>
      </DialogActions>
    </form>
  );
}
