/** What the reader has to know above the composer: a lost connection, a message that was not taken. */
import { useTexts } from "../../i18n";
import { IconButton, icons, Spinner } from "../../theme";
import { useConversation, useSnapshot } from "./runtime";
import styles from "./thread.module.css";

export function Notices() {
  const text = useTexts().conversation;
  const conversation = useConversation();
  const isLost = useSnapshot((snapshot) => snapshot.isLost);
  const isUnsent = useSnapshot(({ view }) => view.live?.phase === "sending");
  const refusal = useSnapshot((snapshot) => snapshot.refusal);
  return (
    <>
      <div role="status">
        {isLost && (
          <p className={styles.lost}>
            <Spinner /> {isUnsent ? text.unsent : text.lost}
          </p>
        )}
      </div>
      {refusal !== null && (
        <div className={styles.refusal} role="alert">
          <icons.Warning />
          <p>
            <strong>{text.refused}.</strong> {refusal}
          </p>
          <IconButton icon={<icons.Close />} label={text.dismiss} onClick={() => conversation.dismissRefusal()} />
        </div>
      )}
    </>
  );
}
