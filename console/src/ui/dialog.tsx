/** Modal dialogs. */
import type { JSX, ReactNode } from "react";
import { Dialog as AriaDialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { Button } from "./button.js";

export interface DialogProps {
  readonly title: string;
  readonly isOpen: boolean;
  readonly onClose: () => void;
  readonly size?: "small" | "medium" | "large" | undefined;
  /** `alertdialog` for a question about something that can't be undone. */
  readonly role?: "dialog" | "alertdialog" | undefined;
  readonly children: ReactNode;
}

export function Dialog({
  title,
  isOpen,
  onClose,
  size = "medium",
  role = "dialog",
  children,
}: DialogProps): JSX.Element {
  return (
    <ModalOverlay
      className="overlay"
      isOpen={isOpen}
      isDismissable={role === "dialog"}
      onOpenChange={(open) => {
        if (!open) onClose();
      }}
    >
      <Modal className={`modal modal-${size}`}>
        <AriaDialog className="dialog" role={role}>
          <header className="dialog-head">
            <Heading slot="title">{title}</Heading>
            <Button variant="quiet" icon="close" label="Close" onPress={onClose} />
          </header>
          {children}
        </AriaDialog>
      </Modal>
    </ModalOverlay>
  );
}

/** The buttons at the end of a dialog. */
export function DialogActions({ children }: { readonly children: ReactNode }): JSX.Element {
  return <footer className="dialog-actions">{children}</footer>;
}
