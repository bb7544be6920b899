/** What the user said, and a way to say it otherwise. */
import { ActionBarPrimitive, ComposerPrimitive, MessagePrimitive, useAuiState } from "@assistant-ui/react";
import { useTexts } from "../../i18n";
import { icons } from "../../theme";
import { BranchPicker } from "./BranchPicker";
import { CopyButton } from "./CopyButton";
import { useTurn } from "./runtime";
import styles from "./thread.module.css";

export function UserMessage() {
  const isEditing = useAuiState((state) => state.message.composer.isEditing);
  return isEditing ? <EditMessage /> : <ShowMessage />;
}

function ShowMessage() {
  const text = useTexts().conversation;
  const turn = useTurn<"user">();
  return (
    <MessagePrimitive.Root className={styles.user} aria-label={text.you} role="group">
      <div className={styles.bubble}>{turn.text}</div>
      <div className={styles.actions}>
        <BranchPicker branches={turn.branches} />
        <div className={styles.buttons}>
          <CopyButton text={turn.text} label={text.copy} />
          <ActionBarPrimitive.Edit className="button button-quiet button-icon" aria-label={text.edit} title={text.edit}>
            <icons.Edit />
          </ActionBarPrimitive.Edit>
        </div>
      </div>
    </MessagePrimitive.Root>
  );
}

function EditMessage() {
  const text = useTexts().conversation;
  return (
    <MessagePrimitive.Root className={styles.user}>
      <ComposerPrimitive.Root className={styles.editor}>
        <ComposerPrimitive.Input className={styles.input} aria-label={text.editing} maxRows={12} autoFocus />
        <div className={styles.editorActions}>
          <ComposerPrimitive.Cancel className="button button-quiet">{text.cancelEdit}</ComposerPrimitive.Cancel>
          <ComposerPrimitive.Send className="button button-primary">{text.saveEdit}</ComposerPrimitive.Send>
        </div>
      </ComposerPrimitive.Root>
    </MessagePrimitive.Root>
  );
}
