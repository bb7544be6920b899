/** Where messages are written. What is not sent yet is kept with the thread, over reloads too. */
import { ComposerPrimitive, useAui, useAuiState } from "@assistant-ui/react";
import { useEffect, useRef } from "react";
import { useTexts } from "../../i18n";
import { keepDraft, keptDraft } from "../live/drafts";
import { Send, Stop } from "./icons";
import { useConversation, useSnapshot } from "./runtime";
import styles from "./thread.module.css";

export function Composer() {
  const text = useTexts().conversation;
  const conversation = useConversation();
  const isRunning = useSnapshot((snapshot) => snapshot.view.live !== null);
  const isStopping = useSnapshot(({ stopping, view }) => stopping !== null && stopping === view.live?.id);
  const hasText = useAuiState((state) => state.composer.text.trim() !== "");
  const input = useRef<HTMLTextAreaElement>(null);
  useDraft();
  return (
    <ComposerPrimitive.Root className={styles.composer}>
      <ComposerPrimitive.Input
        ref={input}
        className={styles.input}
        aria-label={text.placeholder}
        aria-description={text.sendKeys}
        placeholder={text.placeholder}
        maxRows={10}
        autoFocus
        cancelOnEscape={false}
        unstable_insertNewlineOnTouchEnter
      />
      <div className={styles.composerActions}>
        {isRunning && (
          <button
            type="button"
            className={`button button-icon ${styles.stop}`}
            aria-label={text.stop}
            title={text.stop}
            disabled={isStopping}
            onClick={() => {
              // The button goes with the run; who pressed it goes on writing.
              input.current?.focus();
              void conversation.stop();
            }}
          >
            <Stop />
          </button>
        )}
        {(!isRunning || hasText) && (
          <ComposerPrimitive.Send
            className={`button button-primary button-icon ${styles.send}`}
            aria-label={text.send}
            title={text.send}
          >
            <Send />
          </ComposerPrimitive.Send>
        )}
      </div>
    </ComposerPrimitive.Root>
  );
}

/** Brings the thread's draft back, keeps it while it is written, and takes back what was refused. */
function useDraft(): void {
  const aui = useAui();
  const conversation = useConversation();
  const written = useAuiState((state) => state.composer.text);
  const isNew = useSnapshot((snapshot) => snapshot.loading === "new");
  const key = isNew ? null : conversation.threadId;

  // biome-ignore lint/correctness/useExhaustiveDependencies: once, for the thread that is shown now
  useEffect(() => {
    const kept = keptDraft(key);
    if (kept) aui.composer().setText(kept);
    conversation.onReturned = (returned) => {
      const now = aui.composer().getState().text;
      aui.composer().setText(now.trim() ? `${returned}\n\n${now}` : returned);
    };
    return () => {
      conversation.onReturned = (returned) => keepDraft(conversation.threadId, returned);
    };
  }, [conversation]);

  useEffect(() => keepDraft(key, written), [key, written]);
}
