/** Goes from one version of a turn to another, where there are several. */
import { useTexts } from "../../i18n";
import { IconButton } from "../../theme";
import type { Branches } from "../state/view";
import { Left, Right } from "./icons";
import { useConversation } from "./runtime";
import styles from "./thread.module.css";

export function BranchPicker({ branches }: { branches: Branches }) {
  const text = useTexts().conversation;
  const conversation = useConversation();
  const { ids, index, parentId } = branches;
  if (ids.length < 2) return null;
  const go = (to: number) => {
    const id = ids[to];
    if (id !== undefined) conversation.select(parentId, id);
  };
  return (
    <div className={styles.branches}>
      <IconButton icon={<Left />} label={text.previousBranch} disabled={index <= 0} onClick={() => go(index - 1)} />
      <span aria-live="polite">
        <span className="visually-hidden">{text.branch(index + 1, ids.length)}</span>
        <span aria-hidden="true">
          {index + 1}/{ids.length}
        </span>
      </span>
      <IconButton
        icon={<Right />}
        label={text.nextBranch}
        disabled={index >= ids.length - 1}
        onClick={() => go(index + 1)}
      />
    </div>
  );
}
