/** The conversations that the page has open: those being looked at, and those that go on meanwhile. */
import { onSignedOut } from "../../signin";
import { Conversation } from "./conversation";
import { newId } from "./ids";

/** More than these many that do nothing are let go, oldest first. */
const KEPT = 20;

const open = new Map<string, Conversation>();
let fresh: Conversation | null = null;

/** The conversation of a thread; null: the one that begins with the next message. */
export function conversationOf(threadId: string | null): Conversation {
  if (threadId === null) {
    if (fresh?.store.getState().loading !== "new") fresh = new Conversation(newId(), true);
    return fresh;
  }
  const known = threadId === fresh?.threadId ? fresh : open.get(threadId);
  const conversation = known ?? new Conversation(threadId, false);
  open.delete(threadId);
  open.set(threadId, conversation);
  tidy(threadId);
  return conversation;
}

function tidy(except: string): void {
  for (const [threadId, conversation] of open) {
    if (open.size <= KEPT) return;
    if (threadId !== except && !conversation.isBusy) open.delete(threadId);
  }
}

function closeAll(): void {
  for (const conversation of open.values()) conversation.close();
  fresh?.close();
  fresh = null;
  open.clear();
}

onSignedOut(closeAll);
