/** One tool call: what is called with what, how it goes, and what came of it. Details are folded until wanted. */
import { memo, type ReactNode, useId, useState } from "react";
import { type Formats, useFormats, useTexts } from "../../i18n";
import { Spinner } from "../../theme";
import type { CallStatus, CallView } from "../state/view";
import { Approval } from "./Approval";
import { Check, Chevron, Cross, Dash, Hand } from "./icons";
import styles from "./tool.module.css";

const SIGNS: Record<CallStatus, ReactNode> = {
  arguments: <Spinner />,
  running: <Spinner />,
  waiting: <Hand />,
  success: <Check />,
  error: <Cross />,
  cancelled: <Dash />,
  declined: <Cross />,
};

export const ToolCard = memo(function ToolCard({ call }: { call: CallView }) {
  const text = useTexts().conversation.tool;
  const formats = useFormats();
  const [isOpen, setOpen] = useState(false);
  const details = useId();
  const { name, status, duration, interrupt } = call;
  const words = text.statuses[status];
  return (
    <article className={styles.card} data-status={status} aria-label={text.label(name, words)}>
      <button
        type="button"
        className={styles.head}
        aria-expanded={isOpen}
        aria-controls={details}
        onClick={() => setOpen(!isOpen)}
      >
        <span className={styles.sign}>{SIGNS[status]}</span>
        <span className={styles.name}>{name}</span>
        <span className={styles.status}>{words}</span>
        {duration !== null && <span className={styles.duration}>{spanOf(duration, formats)}</span>}
        <span className={styles.chevron} data-open={isOpen}>
          <Chevron />
        </span>
      </button>
      {!isOpen && <Brief call={call} />}
      {interrupt && <Approval interrupt={interrupt} call={call} />}
      <div id={details} hidden={!isOpen} className={styles.details}>
        {isOpen && <Details call={call} />}
      </div>
    </article>
  );
});

/** Most tools are quicker than the units people count in. */
function spanOf(seconds: number, formats: Formats): string {
  if (seconds < 0.0005) return "< 1 ms";
  return seconds < 0.1 ? `${formats.number(seconds * 1000)} ms` : formats.duration(seconds);
}

/** The arguments in a line, as they arrive. */
function Brief({ call }: { call: CallView }) {
  const line = call.arguments.replace(/\s+/g, " ").trim();
  if (!line || line === "{}") return null;
  return <div className={styles.brief}>{line.length > 300 ? `${line.slice(0, 300)}…` : line}</div>;
}

function Details({ call }: { call: CallView }) {
  const text = useTexts().conversation.tool;
  const hasArguments = call.arguments.trim() !== "" && call.arguments.trim() !== "{}";
  return (
    <>
      <h3>{hasArguments ? text.arguments : text.noArguments}</h3>
      {hasArguments && <Text label={text.arguments}>{pretty(call.arguments)}</Text>}
      {call.result !== null && (
        <>
          <h3>{call.result === "" ? text.noResult : text.result}</h3>
          {call.result !== "" && <Text label={text.result}>{pretty(call.result)}</Text>}
        </>
      )}
    </>
  );
}

function Text({ label, children }: { label: string; children: string }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className={styles.text} tabIndex={0} aria-label={label}>
      <pre>{children}</pre>
    </section>
  );
}

/** JSON laid out to be read; anything else as it is. */
export function pretty(text: string): string {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? JSON.stringify(value, null, 2) : text;
  } catch {
    return text;
  }
}
