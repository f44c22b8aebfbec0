/** Chooses the environment that the screens show. An environment exists while it has buckets; a new one begins with its first bucket. */
import { useQuery } from "@connectrpc/connect-query";
import { BucketService } from "@ironflow-kv/client/gen";
import { useNavigate } from "@tanstack/react-router";
import { type JSX, useState } from "react";
import { DEFAULT_ENVIRONMENT, environmentError, useEnvironment } from "../../api/environment.js";
import { Button } from "../../ui/button.js";
import { Dialog, DialogActions } from "../../ui/dialog.js";
import { SelectField, TextField } from "../../ui/field.js";

/** No name of an environment: it has a space. */
const OTHER = "new environment";

export function EnvironmentMenu(): JSX.Element {
  const environment = useEnvironment();
  const navigate = useNavigate();
  const [isNaming, setIsNaming] = useState(false);
  const { data } = useQuery(BucketService.method.listEnvironments, {});
  const names = [...new Set([DEFAULT_ENVIRONMENT, ...(data?.environments ?? []), environment])].sort();
  const go = (name: string): void =>
    void navigate({ to: "/buckets", search: { env: name === DEFAULT_ENVIRONMENT ? undefined : name } });
  return (
    <>
      <div className="environment">
        <span className="environment-label" aria-hidden="true">
          Environment
        </span>
        <SelectField
          isCompact
          label="Environment"
          value={environment}
          onChange={(name) => (name === OTHER ? setIsNaming(true) : go(name))}
          options={[...names.map((name) => [name, name] as const), [OTHER, "New environment…"]]}
        />
      </div>
      <Dialog title="New environment" size="small" isOpen={isNaming} onClose={() => setIsNaming(false)}>
        <NameForm
          onClose={() => setIsNaming(false)}
          onNamed={(name) => {
            setIsNaming(false);
            go(name);
          }}
        />
      </Dialog>
    </>
  );
}

interface NameFormProps {
  readonly onClose: () => void;
  readonly onNamed: (name: string) => void;
}

function NameForm({ onClose, onNamed }: NameFormProps): JSX.Element {
  const [name, setName] = useState("");
  const error = name === "" ? undefined : environmentError(name);
  const reason = name === "" ? "Enter a name first." : error;
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        if (reason === undefined) onNamed(name);
      }}
    >
      <TextField
        label="Name"
        isMono
        autoFocus
        value={name}
        onChange={setName}
        error={error}
        placeholder="staging"
        description="An environment is a namespace of buckets. It exists as soon as it has a bucket."
      />
      <DialogActions>
        <Button onPress={onClose}>Cancel</Button>
        <Button type="submit" variant="primary" reason={reason}>
          Open environment
        </Button>
      </DialogActions>
    </form>
  );
}
