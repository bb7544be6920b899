/** Buttons and the states that every view has: loading, empty, failed. */

import type { ButtonHTMLAttributes, ReactNode } from "react";

import { useTexts } from "../i18n";
import { icons } from "./icons";

type ButtonProps = ButtonHTMLAttributes<HTMLButtonElement>;

export function Button({
  kind = "plain",
  className = "",
  ...rest
}: ButtonProps & { kind?: "primary" | "plain" | "danger" | "quiet" }) {
  return <button type="button" {...rest} className={`button button-${kind} ${className}`} />;
}

/** A button without words on it; `label` is its name. */
export function IconButton({ icon, label, className = "", ...rest }: ButtonProps & { icon: ReactNode; label: string }) {
  return (
    <button
      type="button"
      aria-label={label}
      title={label}
      {...rest}
      className={`button button-quiet button-icon ${className}`}
    >
      {icon}
    </button>
  );
}

export function Spinner({ label }: { label?: string }) {
  return (
    <>
      <span className="spinner" aria-hidden="true" />
      {label !== undefined && <span className="visually-hidden">{label}</span>}
    </>
  );
}

export function LoadingState() {
  const t = useTexts();
  return (
    <div className="state" role="status">
      <Spinner />
      <p>{t.common.loading}</p>
    </div>
  );
}

interface StateProps {
  title: string;
  children?: ReactNode;
  icon?: ReactNode;
  /** A way on from here. */
  action?: ReactNode;
}

export function EmptyState({ title, children, icon = <icons.Info />, action }: StateProps) {
  return (
    <div className="state">
      {icon}
      <p className="state-title">{title}</p>
      {children !== undefined && <p>{children}</p>}
      {action}
    </div>
  );
}

export function ErrorState({
  title,
  children,
  retry,
  icon = <icons.Warning />,
  action,
}: StateProps & { retry?: () => void }) {
  const t = useTexts();
  return (
    <div className="state" role="alert">
      {icon}
      <p className="state-title">{title}</p>
      {children !== undefined && <p>{children}</p>}
      {action}
      {retry && <Button onClick={retry}>{t.common.retry}</Button>}
    </div>
  );
}
