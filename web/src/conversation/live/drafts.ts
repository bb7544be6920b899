/** What was written and not sent, by thread; null is the conversation that has not begun. Kept in this browser. */
import { onSignedOut } from "../../signin";

const PREFIX = "llmkeep.draft.";

const keyOf = (threadId: string | null): string => `${PREFIX}${threadId ?? ""}`;

export function keptDraft(threadId: string | null): string {
  try {
    return localStorage.getItem(keyOf(threadId)) ?? "";
  } catch {
    return "";
  }
}

/** An empty text forgets the draft. */
export function keepDraft(threadId: string | null, text: string): void {
  try {
    if (text) localStorage.setItem(keyOf(threadId), text);
    else localStorage.removeItem(keyOf(threadId));
  } catch {
    // A full or forbidden store: the draft lasts as long as the page.
  }
}

function forgetAll(): void {
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith(PREFIX)) localStorage.removeItem(key);
  } catch {
    // as above
  }
}

// Another user's eyes are not for this one's words.
onSignedOut(forgetAll);
