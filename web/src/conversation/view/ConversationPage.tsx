/** The page of one conversation: what is loading, missing or failed is said here, the rest is the thread's. */
import { useEffect, useMemo } from "react";
import { useStore } from "zustand";
import { Link } from "../../app/link";
import { navigate, threadPath } from "../../app/navigation";
import { useTexts } from "../../i18n";
import { explain } from "../../signin";
import { EmptyState, ErrorState, LoadingState } from "../../theme";
import type { Conversation } from "../live/conversation";
import { conversationOf } from "../live/registry";
import { ConversationProvider } from "./runtime";
import { Thread } from "./Thread";

/** How often to look whether others have done something in the thread that is shown, in milliseconds. */
const LOOK = 10_000;

export function ConversationPage({ threadId }: { threadId: string | null }) {
  const conversation = useMemo(() => conversationOf(threadId), [threadId]);
  return <OneConversation key={conversation.threadId} conversation={conversation} isFresh={threadId === null} />;
}

function OneConversation({ conversation, isFresh }: { conversation: Conversation; isFresh: boolean }) {
  const text = useTexts().conversation;
  const loading = useStore(conversation.store, (snapshot) => snapshot.loading);
  const error = useStore(conversation.store, (snapshot) => snapshot.loadError);
  useUpToDate(conversation);

  useEffect(() => {
    if (isFresh && loading === "ready") navigate(threadPath(conversation.threadId), { replace: true });
  }, [isFresh, loading, conversation]);

  if (loading === "loading") return <LoadingState />;
  if (loading === "missing") {
    return (
      <EmptyState title={text.missingTitle} action={<Link href="/">{text.startNew}</Link>}>
        {text.missing}
      </EmptyState>
    );
  }
  if (loading === "failed") {
    return (
      <ErrorState title={text.loadFailed} retry={() => void conversation.load()}>
        {explain(error)}
      </ErrorState>
    );
  }
  return (
    <ConversationProvider conversation={conversation}>
      <Thread />
    </ConversationProvider>
  );
}

/** Load it when it is shown; look at it again when somebody comes back to the page, and now and then. */
function useUpToDate(conversation: Conversation): void {
  useEffect(() => {
    if (conversation.store.getState().loading !== "new") void conversation.load();
    const look = () => {
      if (!document.hidden) void conversation.look();
    };
    const timer = setInterval(look, LOOK);
    document.addEventListener("visibilitychange", look);
    window.addEventListener("online", look);
    return () => {
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
      window.removeEventListener("online", look);
    };
  }, [conversation]);
}
