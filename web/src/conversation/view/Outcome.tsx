/** How an answer ended, where it did not end well, and the way on from there. */
import { type Texts, useTexts } from "../../i18n";
import { Button, icons } from "../../theme";
import type { RunState } from "../state/types";
import type { AssistantTurn } from "../state/view";
import { useConversation, useSnapshot } from "./runtime";
import styles from "./thread.module.css";

export function Outcome({ turn }: { turn: AssistantTurn }) {
  const text = useTexts().conversation;
  const { run, isCut, answersId } = turn;
  if (run?.phase === "cancelled") return <p className={styles.stopped}>{text.stopped}</p>;
  if (run && isFailed(run)) return <Failure run={run} answersId={answersId} />;
  return isCut ? <p className={styles.stopped}>{text.cut}</p> : null;
}

export function isFailed({ phase }: RunState): boolean {
  return phase === "error" || phase === "interrupted" || phase === "timeout";
}

function Failure({ run, answersId }: { run: RunState; answersId: string | null }) {
  const text = useTexts().conversation;
  const conversation = useConversation();
  const isBusy = useSnapshot((snapshot) => snapshot.view.live !== null);
  const [words, detail] = wordsFor(run, text);
  return (
    <div className={styles.failure} role="alert">
      <icons.Warning />
      <div>
        <p>{words}</p>
        {detail && <p className={styles.detail}>{detail}</p>}
      </div>
      {answersId !== null && (
        <Button disabled={isBusy} onClick={() => conversation.regenerate(answersId)}>
          {text.retry}
        </Button>
      )}
    </div>
  );
}

/** What a person can do about it, in their language, and what the service said where that tells more. */
function wordsFor({ phase, error }: RunState, text: Texts["conversation"]): [string, string | null] {
  if (phase === "interrupted") return [text.interrupted, null];
  if (phase === "timeout") return [text.timedOut, null];
  const { code = "", message = "" } = error ?? {};
  const known = Object.entries(text.failures).find(([each]) => each === code)?.[1];
  // Settings are what the message names; of the others it says less than we do.
  if (known) return [known, code === "configuration" ? message || null : null];
  if (code.startsWith("http_")) return [text.failures.provider, message || null];
  return [text.failed, message || null];
}
