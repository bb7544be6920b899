/** The messages of a conversation, and the composer under them. */
import { ThreadPrimitive } from "@assistant-ui/react";
import { useTexts } from "../../i18n";
import { useThread } from "../../threads";
import { Announcer } from "./Announcer";
import { AssistantMessage } from "./AssistantMessage";
import { Composer } from "./Composer";
import { Down } from "./icons";
import { Notices } from "./Notices";
import { useConversation, useSnapshot } from "./runtime";
import styles from "./thread.module.css";
import { UserMessage } from "./UserMessage";
import { Welcome } from "./Welcome";

const MESSAGES = { UserMessage, AssistantMessage };

export function Thread() {
  const text = useTexts().conversation;
  const threads = useTexts().threads;
  const title = useThread(useConversation().threadId)?.title;
  const isEmpty = useSnapshot((snapshot) => snapshot.view.turns.length === 0);
  return (
    <ThreadPrimitive.Root className={styles.thread}>
      <h1 className="visually-hidden">{title || (isEmpty ? threads.fresh : threads.untitled)}</h1>
      <ThreadPrimitive.Viewport
        className={styles.viewport}
        data-empty={isEmpty}
        tabIndex={0}
        aria-label={text.messages}
      >
        {isEmpty ? <Welcome /> : <ThreadPrimitive.Messages components={MESSAGES} />}
        <Queue />
        <div className={styles.space} />
        <ThreadPrimitive.ViewportFooter className={styles.footer}>
          <ThreadPrimitive.ScrollToBottom className={styles.toEnd} aria-label={text.toEnd} title={text.toEnd}>
            <Down />
          </ThreadPrimitive.ScrollToBottom>
          <Notices />
          <Composer />
        </ThreadPrimitive.ViewportFooter>
      </ThreadPrimitive.Viewport>
      <Announcer />
    </ThreadPrimitive.Root>
  );
}

/** What was sent while a run is on, and waits for its turn. */
function Queue() {
  const text = useTexts().conversation;
  const conversation = useConversation();
  const queue = useSnapshot((snapshot) => snapshot.view.queue);
  return queue.map((queued) => (
    <div key={queued.id} className={styles.user}>
      <div className={styles.bubble} data-queued="true">
        {queued.content}
      </div>
      <div className={styles.queued}>
        <span>{text.queued}</span>
        <button type="button" className={styles.textButton} onClick={() => void conversation.cancel(queued.runId)}>
          {text.unqueue}
        </button>
      </div>
    </div>
  ));
}
