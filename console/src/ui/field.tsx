/** Form fields with a label, an explanation and an error. */
import type { JSX, ReactNode } from "react";
import {
  Button,
  CheckboxButton,
  CheckboxField,
  type CheckboxFieldProps,
  FieldError,
  Input,
  Label,
  ListBox,
  ListBoxItem,
  Popover,
  Select,
  SelectValue,
  Text,
  TextArea,
  TextField as AriaTextField,
} from "react-aria-components";
import { Icon } from "./icons.js";

export interface TextFieldProps {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly description?: ReactNode;
  readonly error?: string | undefined;
  readonly placeholder?: string | undefined;
  readonly type?: "text" | "password" | undefined;
  readonly isMono?: boolean | undefined;
  readonly rows?: number | undefined;
  readonly autoFocus?: boolean | undefined;
  readonly autoComplete?: string | undefined;
  readonly isReadOnly?: boolean | undefined;
}

export function TextField(props: TextFieldProps): JSX.Element {
  const { label, value, onChange, description, error, placeholder, type = "text", rows } = props;
  const className = `input ${props.isMono === true ? "mono" : ""}`;
  return (
    <AriaTextField
      className="field"
      value={value}
      onChange={onChange}
      type={type}
      isInvalid={error !== undefined}
      isReadOnly={props.isReadOnly ?? false}
      autoComplete={props.autoComplete ?? "off"}
      autoFocus={props.autoFocus ?? false}
    >
      <Label>{label}</Label>
      {rows === undefined ? (
        <Input className={className} placeholder={placeholder ?? ""} spellCheck="false" />
      ) : (
        <TextArea className={className} rows={rows} placeholder={placeholder ?? ""} spellCheck="false" />
      )}
      {description !== undefined && (
        <Text slot="description" className="hint">
          {description}
        </Text>
      )}
      <FieldError className="field-error">{error}</FieldError>
    </AriaTextField>
  );
}

export interface SelectFieldProps<Value extends string> {
  readonly label: string;
  readonly value: Value;
  readonly onChange: (value: Value) => void;
  readonly options: readonly (readonly [value: Value, text: string])[];
  readonly description?: ReactNode;
  /** Hides the label from the eye. */
  readonly isCompact?: boolean | undefined;
}

export function SelectField<Value extends string>(props: SelectFieldProps<Value>): JSX.Element {
  const { label, value, onChange, options, description, isCompact = false } = props;
  return (
    <Select
      className={isCompact ? "select" : "select field"}
      value={value}
      onChange={(key) => {
        const chosen = options.find(([one]) => one === key);
        if (chosen !== undefined) onChange(chosen[0]);
      }}
      {...(isCompact ? { "aria-label": label } : {})}
    >
      {!isCompact && <Label>{label}</Label>}
      <Button className="button button-plain select-button">
        <SelectValue />
        <span className="select-arrow" aria-hidden="true" />
      </Button>
      {description !== undefined && (
        <Text slot="description" className="hint">
          {description}
        </Text>
      )}
      <Popover className="popover" offset={4}>
        <ListBox className="menu">
          {options.map(([id, text]) => (
            <ListBoxItem key={id} id={id} className="menu-item" textValue={text}>
              {text}
            </ListBoxItem>
          ))}
        </ListBox>
      </Popover>
    </Select>
  );
}

export function Checkbox({
  children,
  ...props
}: Omit<CheckboxFieldProps, "children"> & { readonly children?: ReactNode }): JSX.Element {
  return (
    <CheckboxField {...props}>
      <CheckboxButton className="checkbox">
        {({ isIndeterminate }) => (
          <>
            <span className="checkbox-box" aria-hidden="true">
              {isIndeterminate ? <span className="checkbox-dash" /> : <Icon name="check" />}
            </span>
            {children}
          </>
        )}
      </CheckboxButton>
    </CheckboxField>
  );
}
