/** Server-sent events read with fetch: EventSource can send no Authorization header. */
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { authorizedFetch, Offline, problemOf } from "../signin";

/**
 * The frames of a stream as they arrive, those of one network chunk together.
 * Ends when the body ends, whether or not the run did: that is for the caller to see.
 * Throws ApiProblem (refused), Offline (no answer, or broken in the middle), or the signal's AbortError.
 * Leaving the loop closes the connection.
 */
export async function* readEvents(path: string, init: RequestInit): AsyncGenerator<EventSourceMessage[]> {
  const response = await authorizedFetch(path, { ...init, cache: "no-store" });
  // A gateway speaks for a service that is down.
  if (response.status === 502 || response.status === 504) throw new Offline();
  if (!response.ok) throw await problemOf(response);
  if (!response.body) throw new Offline();
  yield* parse(response.body.getReader(), init.signal ?? null);
}

async function* parse(reader: ReadableStreamDefaultReader<Uint8Array>, signal: AbortSignal | null) {
  const decoder = new TextDecoder();
  let frames: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (frame) => frames.push(frame) });
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      if (frames.length === 0) continue;
      yield frames;
      frames = [];
    }
  } catch (error) {
    throw signal?.aborted ? error : new Offline({ cause: error });
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
