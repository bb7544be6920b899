/** The conversation as assistant-ui's runtime sees it: turns in, what a person does out. Nothing is kept here. */
import {
  type AppendMessage,
  AssistantRuntimeProvider,
  type ExternalStoreAdapter,
  type ThreadMessageLike,
  useAuiState,
  useExternalStoreRuntime,
} from "@assistant-ui/react";
import { createContext, type ReactNode, useContext, useMemo } from "react";
import { useStore } from "zustand";
import type { Conversation, Snapshot } from "../live/conversation";
import { isLive } from "../state/types";
import type { AssistantTurn, Turn } from "../state/view";

const Context = createContext<Conversation | null>(null);

export function useConversation(): Conversation {
  const conversation = useContext(Context);
  if (!conversation) throw new Error("there is no ConversationProvider around this");
  return conversation;
}

export function useSnapshot<T>(select: (snapshot: Snapshot) => T): T {
  return useStore(useConversation().store, select);
}

/** The turn that a message of assistant-ui's stands for. */
export function useTurn<Role extends Turn["role"]>(): Extract<Turn, { role: Role }> {
  return useAuiState((state) => state.message.metadata.custom.turn as Extract<Turn, { role: Role }>);
}

export function ConversationProvider({ conversation, children }: { conversation: Conversation; children: ReactNode }) {
  const turns = useStore(conversation.store, (snapshot) => snapshot.view.turns);
  const isRunning = useStore(conversation.store, (snapshot) => snapshot.view.live !== null);
  const isLoading = useStore(conversation.store, (snapshot) => snapshot.loading === "loading");
  const adapter = useMemo(
    (): ExternalStoreAdapter<Turn> => ({
      messages: turns,
      convertMessage,
      isRunning,
      isLoading,
      onNew: async (message) => conversation.send(textOf(message)),
      onEdit: async (message) => {
        const edited = turns.find((turn) => turn.id === message.sourceId);
        if (edited?.role === "user") conversation.edit(edited.parentId, textOf(message));
      },
      onCancel: () => conversation.stop(),
      // What is sent while a run is on waits at the service, not here.
      queue: {
        items: [],
        steerItems: [],
        enqueue: (message) => conversation.send(textOf(message)),
        steer: (message) => conversation.send(textOf(message)),
        move: () => undefined,
        edit: () => undefined,
        remove: () => undefined,
      },
    }),
    [conversation, turns, isRunning, isLoading],
  );
  const runtime = useExternalStoreRuntime(adapter);
  return (
    <Context value={conversation}>
      <AssistantRuntimeProvider runtime={runtime}>{children}</AssistantRuntimeProvider>
    </Context>
  );
}

function textOf(message: AppendMessage): string {
  return message.content
    .map((part) => (part.type === "text" ? part.text : ""))
    .join("")
    .trim();
}

function convertMessage(turn: Turn): ThreadMessageLike {
  const metadata = { custom: { turn } };
  if (turn.role === "user") {
    return { role: "user", id: turn.id, content: [{ type: "text", text: turn.text }], metadata };
  }
  return { role: "assistant", id: turn.id, content: contentOf(turn), status: statusOf(turn), metadata };
}

type Content = Exclude<ThreadMessageLike["content"], string>;

function contentOf(turn: AssistantTurn): Content {
  return turn.parts.flatMap((part): Content => {
    if (part.type === "text") return [{ type: "text", text: part.text }];
    return part.calls.map((call) => ({
      type: "tool-call",
      toolCallId: call.id,
      toolName: call.name,
      // Read by nobody: the card shows the text itself, whole or not.
      args: {},
      argsText: call.arguments,
      ...(call.result !== null && { result: call.result, isError: call.status !== "success" }),
    }));
  });
}

function statusOf({ run, isCut }: AssistantTurn): NonNullable<ThreadMessageLike["status"]> {
  if (run && isLive(run)) return { type: "running" };
  if (run?.phase === "waiting") return { type: "requires-action", reason: "interrupt" };
  if (run?.phase === "cancelled" || isCut) return { type: "incomplete", reason: "cancelled" };
  if (run?.error) return { type: "incomplete", reason: "error", error: run.error.message };
  return { type: "complete", reason: "stop" };
}
