/**
 * Follows a run to its terminal event, over as many connections as that takes.
 *
 * A stream that ends without a terminal event is a lost connection, never the end of the run. Asking
 * for a run twice is safe: the same body under the same id joins the run that is there.
 */
import { type AGUIEvent, EventType, type RunAgentInput } from "@ag-ui/core";
import { readEvents } from "../../api";
import { ApiProblem, Offline } from "../../signin";
import type { NumberedEvent } from "../state/types";
import { pause, signedIn } from "./waiting";

export interface Following {
  readonly threadId: string;
  readonly runId: string;
  /** What to ask for, where the run is not there yet. */
  readonly ask: RunAgentInput | null;
  /** The number of the last event that is known. */
  readonly after: number;
  readonly signal: AbortSignal;
  readonly onEvents: (events: NumberedEvent[]) => void;
  /** Whether there is a connection; the first time, the service has taken the run. */
  readonly onConnection: (isConnected: boolean) => void;
}

/** Resolves at the run's terminal event. Throws ApiProblem where the service refuses it, or the signal's AbortError. */
export async function followRun(following: Following): Promise<void> {
  let { after } = following;
  let isTaken = following.ask === null;
  for (let failures = 0; ; ) {
    try {
      const request = isTaken ? replay(following, after) : asking(following);
      for await (const frames of readEvents(request.path, { ...request.init, signal: following.signal })) {
        isTaken = true;
        following.onConnection(true);
        const events = frames.flatMap((frame) => numbered(frame, after));
        if (events.length === 0) continue;
        failures = 0;
        after = events.at(-1)?.number ?? after;
        following.onEvents(events);
        if (events.some(isTerminal)) return;
      }
    } catch (error) {
      if (following.signal.aborted || !isPassing(error, isTaken)) throw error;
      if (error instanceof ApiProblem && error.status === 401) {
        await signedIn(following.signal);
        continue;
      }
      if (error instanceof ApiProblem && error.retryAfter) await pause(error.retryAfter * 1000, following.signal);
    }
    following.onConnection(false);
    await pause(backOff(failures), following.signal);
    failures += 1;
  }
}

function asking({ ask }: Following) {
  const headers = { Accept: "text/event-stream", "Content-Type": "application/json" };
  return { path: "/api/agent", init: { method: "POST", headers, body: JSON.stringify(ask) } };
}

function replay({ threadId, runId }: Following, after: number) {
  const path = `/api/threads/${encodeURIComponent(threadId)}/runs/${encodeURIComponent(runId)}/stream`;
  const headers = { Accept: "text/event-stream", "Last-Event-ID": String(after) };
  return { path: `${path}?protocol_version=1.0`, init: { headers } };
}

/** Whether it may be otherwise in a while, with nothing changed by anybody. */
function isPassing(error: unknown, isTaken: boolean): boolean {
  if (error instanceof Offline) return true;
  if (!(error instanceof ApiProblem)) return false;
  if (error.status === 401 || error.status === 503) return true;
  return isTaken && (error.status === 429 || error.status >= 500);
}

/** Milliseconds before the next try: soon at first, then calmly, and not all pages at once. */
function backOff(failures: number): number {
  return Math.min(8000, 300 * 2 ** failures) * (0.75 + Math.random() / 2);
}

function numbered(frame: { id?: string | undefined; data: string }, after: number): NumberedEvent[] {
  try {
    const event = JSON.parse(frame.data) as AGUIEvent;
    return [{ number: Number(frame.id) || after + 1, event }];
  } catch {
    return []; // not an event of ours
  }
}

export function isTerminal({ event }: NumberedEvent): boolean {
  return event.type === EventType.RUN_FINISHED || event.type === EventType.RUN_ERROR;
}
