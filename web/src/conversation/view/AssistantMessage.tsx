/** What the assistant answered: text and tool calls in the order they came, and how it ended. */
import { MessagePrimitive, useAuiState } from "@assistant-ui/react";
import { useFormats, useTexts } from "../../i18n";
import { IconButton, Spinner } from "../../theme";
import { Markdown } from "../markdown/Markdown";
import { isLive } from "../state/types";
import type { AssistantTurn } from "../state/view";
import { BranchPicker } from "./BranchPicker";
import { CopyButton } from "./CopyButton";
import { Again } from "./icons";
import { isFailed, Outcome } from "./Outcome";
import { useConversation, useSnapshot, useTurn } from "./runtime";
import { ToolCard } from "./ToolCard";
import styles from "./thread.module.css";

export function AssistantMessage() {
  const text = useTexts().conversation;
  const turn = useTurn<"assistant">();
  const isLast = useAuiState((state) => state.message.isLast);
  // assistant-ui puts an empty message under one that waits for an answer; ours have a turn.
  if (!turn) return null;
  const isOn = turn.run !== null && isLive(turn.run);
  const last = turn.parts.at(-1);
  return (
    <MessagePrimitive.Root
      className={styles.assistant}
      data-last={isLast}
      aria-label={text.assistant}
      role="group"
      aria-busy={isOn}
    >
      {turn.parts.map((part) =>
        part.type === "text" ? (
          <Markdown key={part.id} text={part.text} isGrowing={isOn && part === last} />
        ) : (
          <div key={part.id} className={styles.calls} data-several={part.calls.length > 1}>
            {part.calls.map((call) => (
              <ToolCard key={call.id} call={call} />
            ))}
          </div>
        ),
      )}
      {isOn ? <Progress turn={turn} /> : <Ending turn={turn} />}
    </MessagePrimitive.Root>
  );
}

/** What is being waited for, where nothing else moves. */
function Progress({ turn }: { turn: AssistantTurn }) {
  const text = useTexts().conversation;
  const isStopping = useSnapshot(({ stopping, view }) => stopping !== null && stopping === view.live?.id);
  const last = turn.parts.at(-1);
  const isWriting = last?.type === "text" && !turn.run?.isLoadingModel;
  const isCalling =
    last?.type === "calls" && last.calls.some((call) => call.status === "arguments" || call.status === "running");
  let words: string | null = null;
  if (isStopping) words = text.stopping;
  else if (turn.run?.phase === "queued") words = text.queued;
  else if (turn.run?.isLoadingModel) words = text.loadingModel;
  else if (turn.run?.phase === "sending") words = text.sending;
  else if (!isWriting && !isCalling) words = text.thinking;
  if (words === null) return <div className={styles.actions} />;
  return (
    <div className={styles.progress}>
      <Spinner /> {words}
    </div>
  );
}

function Ending({ turn }: { turn: AssistantTurn }) {
  const text = useTexts().conversation;
  const formats = useFormats();
  const conversation = useConversation();
  const isBusy = useSnapshot((snapshot) => snapshot.view.live !== null);
  const { answersId, model, usage, run } = turn;
  // What waits wants a decision, what failed has a button of its own.
  const isAsking =
    (run !== null && isFailed(run)) ||
    turn.parts.some((part) => part.type === "calls" && part.calls.some((call) => call.status === "waiting"));
  return (
    <>
      <Outcome turn={turn} />
      <div className={styles.actions}>
        <BranchPicker branches={turn.branches} />
        <div className={styles.buttons}>
          {turn.text && <CopyButton text={turn.text} label={text.copy} />}
          {answersId !== null && !isAsking && (
            <IconButton
              icon={<Again />}
              label={text.regenerate}
              disabled={isBusy}
              onClick={() => conversation.regenerate(answersId)}
            />
          )}
        </div>
        <span className={styles.facts}>
          {model && <span title={text.model(model)}>{model}</span>}
          {(usage?.total_tokens ?? 0) > 0 && usage && (
            <span>
              {text.tokens(formats.number(usage.input_tokens ?? 0), formats.number(usage.output_tokens ?? 0))}
            </span>
          )}
        </span>
      </div>
    </>
  );
}
