/** Server-sent events read with fetch: EventSource can send no Authorization header. */
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { authorizedFetch, Offline, problemOf } from "../signin";

/** The service sends a comment every 15 seconds at the latest: a connection that is silent for longer is dead. */
const SILENCE = 40_000;

/**
 * The frames of a stream as they arrive, those of one network chunk together; the first, empty batch says
 * that the service has taken the request. Ends when the body ends, whether or not the run did: that is
 * for the caller to see. Leaving the loop closes the connection.
 *
 * Throws ApiProblem (refused), Offline (no answer, or broken in the middle), or the signal's AbortError.
 */
export async function* readEvents(path: string, init: RequestInit): AsyncGenerator<EventSourceMessage[]> {
  const silence = new Silence();
  const signal = init.signal ? AbortSignal.any([init.signal, silence.signal]) : silence.signal;
  try {
    silence.wait();
    const response = await authorizedFetch(path, { ...init, signal, cache: "no-store" });
    // A gateway speaks for a service that is down.
    if (response.status === 502 || response.status === 504) throw new Offline();
    if (!response.ok) throw await problemOf(response);
    if (!response.body) throw new Offline();
    yield [];
    yield* parse(response.body.getReader(), silence);
  } catch (error) {
    if (!isAbort(error)) throw error;
    if (init.signal?.aborted) throw error;
    throw new Offline({ cause: error });
  } finally {
    silence.end();
  }
}

async function* parse(reader: ReadableStreamDefaultReader<Uint8Array>, silence: Silence) {
  const decoder = new TextDecoder();
  let frames: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (frame) => frames.push(frame) });
  try {
    for (;;) {
      silence.wait();
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw isAbort(error) ? error : new Offline({ cause: error });
      });
      if (done) return;
      parser.feed(decoder.decode(value, { stream: true }));
      if (frames.length === 0) continue;
      const arrived = frames;
      frames = [];
      yield arrived;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";

/** Ends a request on which nothing has come for too long. */
class Silence {
  private readonly controller = new AbortController();
  private timer: ReturnType<typeof setTimeout> | undefined;
  readonly signal = this.controller.signal;

  wait(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.controller.abort(), SILENCE);
  }

  end(): void {
    clearTimeout(this.timer);
  }
}
