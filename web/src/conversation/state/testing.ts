/** For tests: runs written down as events, and conversations made of them. */
import { type AGUIEvent, EventType } from "@ag-ui/core";
import type { Run, StoredMessage } from "../../api";
import { reduce } from "./reducer";
import { type ConversationState, EMPTY, type NumberedEvent } from "./types";

type Loose = { type: string; [key: string]: unknown };

const event = (type: EventType, more: object = {}): AGUIEvent => ({ type, ...more }) as Loose as AGUIEvent;

export const started = (runId = "r1") => event(EventType.RUN_STARTED, { threadId: "t", runId });
export const input = (value: {
  parent_id?: string | null;
  messages?: { id: string; content: string }[];
  resume?: boolean;
}) =>
  event(EventType.CUSTOM, {
    name: "run_input",
    value: { parent_id: null, messages: [], model: "test:model", resume: false, ...value },
  });
export const custom = (name: string, value: object) => event(EventType.CUSTOM, { name, value });
export const textStart = (messageId: string) => event(EventType.TEXT_MESSAGE_START, { messageId, role: "assistant" });
export const text = (messageId: string, delta: string) => event(EventType.TEXT_MESSAGE_CONTENT, { messageId, delta });
export const textEnd = (messageId: string, metadata?: object) =>
  event(EventType.TEXT_MESSAGE_END, { messageId, metadata });
export const call = (toolCallId: string, toolCallName: string, parentMessageId?: string) =>
  event(EventType.TOOL_CALL_START, { toolCallId, toolCallName, parentMessageId });
export const args = (toolCallId: string, delta: string) => event(EventType.TOOL_CALL_ARGS, { toolCallId, delta });
export const callEnd = (toolCallId: string) => event(EventType.TOOL_CALL_END, { toolCallId });
export const result = (toolCallId: string, content: string, metadata: object = { status: "success", duration: 0.5 }) =>
  event(EventType.TOOL_CALL_RESULT, { messageId: `result-${toolCallId}`, toolCallId, content, metadata });
export const finished = (outcome: object = { type: "success" }, usage?: object[]) =>
  event(EventType.RUN_FINISHED, { threadId: "t", runId: "r", outcome, usage });
export const failed = (message: string, code: string) => event(EventType.RUN_ERROR, { message, code });
export const snapshot = (messages: object[]) => event(EventType.MESSAGES_SNAPSHOT, { messages });

export const numbered = (events: readonly AGUIEvent[]): NumberedEvent[] =>
  events.map((each, index) => ({ number: index + 1, event: each }));

/** The state after a run's events, told one by one. */
export function play(
  events: readonly AGUIEvent[],
  { state = EMPTY, runId = "r1" }: { state?: ConversationState; runId?: string } = {},
): ConversationState {
  let now = state;
  for (const each of numbered(events)) now = reduce(now, { type: "events", runId, events: [each] });
  return now;
}

/** What the service's table would hold of a state: for a conversation that is opened anew. */
export function stored(state: ConversationState): StoredMessage[] {
  return [...state.messages.values()].map((message) => ({
    id: message.id,
    parent_id: message.parentId,
    run_id: message.runId,
    role: message.role,
    content: message.content,
    status:
      message.role === "tool"
        ? message.status
        : message.role === "assistant" && message.isPartial
          ? "partial"
          : "complete",
    tool_calls:
      message.role === "assistant"
        ? message.calls.map(({ id, name, arguments: written }) => ({ id, name, arguments: written }))
        : [],
    tool_call_id: message.role === "tool" ? message.callId : null,
    duration: message.role === "tool" ? message.duration : null,
    model: message.role === "assistant" ? message.model : null,
    usage: message.role === "assistant" && message.usage ? { ...message.usage } : null,
    created_at: "2026-01-01T00:00:00Z",
  }));
}

export function run(more: Partial<Run> = {}): Run {
  return {
    run_id: "r1",
    thread_id: "t",
    status: "success",
    code: null,
    error: null,
    model: "test:model",
    usage: null,
    created_at: "2026-01-01T00:00:00Z",
    started_at: null,
    ended_at: null,
    last_event_id: 0,
    on_disconnect: "continue",
    multitask_strategy: "enqueue",
    interrupts: [],
    ...more,
  };
}
