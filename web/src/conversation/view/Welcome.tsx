/** A conversation in which nothing has been said: what one may begin with, and who will answer. */
import { useTexts } from "../../i18n";
import { chosenModel, useModels } from "../../settings/models";
import { usePreferences } from "../../settings/preferences";
import { useConversation } from "./runtime";
import styles from "./thread.module.css";

export function Welcome() {
  const text = useTexts().conversation;
  const conversation = useConversation();
  const { models } = useModels();
  const model = chosenModel(models, usePreferences().model);
  return (
    <div className={styles.welcome}>
      <h2>{text.emptyTitle}</h2>
      <p>{text.empty}</p>
      {model?.demonstration && <p className={styles.demonstration}>{text.demonstration}</p>}
      <div className={styles.suggestions}>
        {text.suggestions.map((each) => (
          <button key={each} type="button" className={styles.suggestion} onClick={() => conversation.send(each)}>
            {each}
          </button>
        ))}
      </div>
    </div>
  );
}
