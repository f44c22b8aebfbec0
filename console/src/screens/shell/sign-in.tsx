/** Asks for an API key. The address stays, so the screen that needed the key opens after it. */
import { type JSX, useState } from "react";
import { Dialog, Modal, ModalOverlay } from "react-aria-components";
import { logOut, signIn } from "../../api/session.js";
import { Button } from "../../ui/button.js";
import { TextField } from "../../ui/field.js";
import { Notice } from "../../ui/states.js";

/** The page for who has no key yet. */
export function SignIn(): JSX.Element {
  return (
    <main className="sign-in">
      <SignInForm isRefused={false} />
    </main>
  );
}

/** Covers the screens when the service does not accept the key any more. They stay as they are: a form that is open is still there afterwards. */
export function SignInAgain(): JSX.Element {
  return (
    <ModalOverlay className="sign-in-overlay" isOpen isKeyboardDismissDisabled>
      <Modal>
        <Dialog className="sign-in" aria-label="Sign in">
          <SignInForm isRefused />
        </Dialog>
      </Modal>
    </ModalOverlay>
  );
}

function SignInForm({ isRefused }: { readonly isRefused: boolean }): JSX.Element {
  const [key, setKey] = useState("");
  const isMissing = key.trim() === "";
  return (
    <form
      className="card sign-in-card"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isMissing) signIn(key.trim());
      }}
    >
      <img src="/favicon.svg" alt="" width="40" height="40" />
      <h1>Sign in to ironflow-kv</h1>
      {isRefused && (
        <Notice>
          The service did not accept the API key: it is unknown, revoked or expired. Enter another one.
        </Notice>
      )}
      <TextField
        label="API key"
        type="password"
        isMono
        autoFocus
        autoComplete="current-password"
        value={key}
        onChange={setKey}
        description="The value of IRONFLOW_API_KEY, or a key that begins with ifkey_. This tab remembers it until you log out or close the tab."
      />
      <Button type="submit" variant="primary" reason={isMissing ? "Enter an API key first." : undefined}>
        Sign in
      </Button>
      {isRefused && (
        <Button variant="quiet" onPress={logOut}>
          Forget this key
        </Button>
      )}
    </form>
  );
}
