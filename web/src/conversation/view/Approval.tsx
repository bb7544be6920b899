/** The question whether a tool may run: yes, no, or yes with other arguments. */
import type { Interrupt } from "@ag-ui/core";
import { useEffect, useId, useState } from "react";
import { useFormats, useTexts } from "../../i18n";
import { Button } from "../../theme";
import type { Decision } from "../live/conversation";
import type { CallView } from "../state/view";
import { useConversation, useSnapshot } from "./runtime";
import { pretty } from "./ToolCard";
import styles from "./tool.module.css";

export function Approval({ interrupt, call }: { interrupt: Interrupt; call: CallView }) {
  const text = useTexts().conversation.tool;
  const formats = useFormats();
  const conversation = useConversation();
  const decision = useSnapshot((snapshot) => snapshot.decisions.get(interrupt.id));
  const isExpired = useExpired(interrupt.expiresAt);
  const [isChanging, setChanging] = useState(false);

  if (decision) return <Decided decision={decision} />;
  if (isExpired) return <p className={styles.note}>{text.expired}</p>;
  const decide = (decided: Decision) => conversation.decide(interrupt, decided);
  if (isChanging) {
    return (
      <ChangeArguments
        first={pretty(argumentsOf(interrupt, call))}
        onDone={(changed) => decide({ isApproved: true, arguments: changed })}
        onCancel={() => setChanging(false)}
      />
    );
  }
  return (
    <div className={styles.approval}>
      {interrupt.expiresAt && (
        <p className={styles.note}>{text.until(formats.dateTime(new Date(interrupt.expiresAt)))}</p>
      )}
      <div className={styles.choices}>
        <Button kind="primary" onClick={() => decide({ isApproved: true })}>
          {text.allow}
        </Button>
        <Button onClick={() => decide({ isApproved: false })}>{text.deny}</Button>
        <Button kind="quiet" onClick={() => setChanging(true)}>
          {text.change}
        </Button>
      </div>
    </div>
  );
}

function argumentsOf(interrupt: Interrupt, call: CallView): string {
  const args: unknown = interrupt.metadata?.args;
  return args === undefined ? call.arguments || "{}" : JSON.stringify(args);
}

function Decided({ decision }: { decision: Decision }) {
  const text = useTexts().conversation.tool;
  const others = useSnapshot((snapshot) => {
    const { waiting } = snapshot.view;
    return waiting?.interrupts.some((each) => !snapshot.decisions.has(each.id)) ?? false;
  });
  const said = decision.isApproved ? (decision.arguments ? text.allowedChanged : text.allowed) : text.denied;
  return (
    <p className={styles.note} role="status">
      {said}. {others && text.others}
    </p>
  );
}

interface ChangeProps {
  first: string;
  onDone: (changed: Record<string, unknown>) => void;
  onCancel: () => void;
}

function ChangeArguments({ first, onDone, onCancel }: ChangeProps) {
  const texts = useTexts();
  const text = texts.conversation.tool;
  const [source, setSource] = useState(first);
  const [isWrong, setWrong] = useState(false);
  const id = useId();
  const done = () => {
    const changed = objectIn(source);
    if (changed) onDone(changed);
    else setWrong(true);
  };
  return (
    <div className={styles.approval}>
      <label htmlFor={id}>{text.changeAbout}</label>
      <textarea
        id={id}
        className={styles.change}
        rows={Math.min(12, source.split("\n").length + 1)}
        spellCheck={false}
        value={source}
        aria-invalid={isWrong}
        aria-describedby={isWrong ? `${id}-wrong` : undefined}
        // biome-ignore lint/a11y/noAutofocus: it stands where the button was that was pressed
        autoFocus
        onChange={(event) => {
          setSource(event.target.value);
          setWrong(false);
        }}
      />
      {isWrong && (
        <p id={`${id}-wrong`} className={styles.wrong} role="alert">
          {text.notAnObject}
        </p>
      )}
      <div className={styles.choices}>
        <Button kind="primary" onClick={done}>
          {text.allowChanged}
        </Button>
        <Button kind="quiet" onClick={onCancel}>
          {texts.common.cancel}
        </Button>
      </div>
    </div>
  );
}

function objectIn(source: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(source);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}

/** Whether a moment has passed; turns true when it does. */
function useExpired(expiresAt: string | undefined): boolean {
  const end = expiresAt ? Date.parse(expiresAt) : Number.POSITIVE_INFINITY;
  const [isExpired, setExpired] = useState(() => end <= Date.now());
  useEffect(() => {
    const left = end - Date.now();
    setExpired(left <= 0);
    // Timers hold no more than 24 days.
    if (left <= 0 || left > 2_000_000_000) return;
    const timer = setTimeout(() => setExpired(true), left);
    return () => clearTimeout(timer);
  }, [end]);
  return isExpired;
}
