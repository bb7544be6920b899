/** Reads the cache's live stream, and connects again for as long as somebody wants to see it. */

import { readEvents } from "../api/stream";
import { ApiProblem } from "../signin/http";
import { onSignedIn } from "../signin/session";
import type { CacheSnapshot } from "./snapshot";

/** `forbidden`: the server lets only administrators see it, and there is no use in asking again. */
export type Connection = "connecting" | "live" | "lost" | "forbidden";

export interface Follower {
  onSnapshot(snapshot: CacheSnapshot): void;
  onConnection(connection: Connection): void;
}

const PATH = "/api/cache/stream";
/** The server tells about each second: this much silence means that the connection is dead. */
const LONGEST_SILENCE = 10_000;
const FIRST_PAUSE = 1_000;
const LONGEST_PAUSE = 10_000;

/** Follow until the signal ends it. Never throws. */
export async function followCache(follower: Follower, signal: AbortSignal): Promise<void> {
  let pause = FIRST_PAUSE;
  follower.onConnection("connecting");
  while (!signal.aborted) {
    try {
      await readOnce((snapshot) => {
        pause = FIRST_PAUSE;
        follower.onConnection("live");
        follower.onSnapshot(snapshot);
      }, signal);
    } catch (error) {
      if (error instanceof ApiProblem && error.status === 403) return follower.onConnection("forbidden");
    }
    if (signal.aborted) return;
    follower.onConnection("lost");
    await pauseFor(pause, signal);
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
}

/** One connection, until it ends, breaks, or falls silent. */
async function readOnce(tell: (snapshot: CacheSnapshot) => void, signal: AbortSignal): Promise<void> {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), LONGEST_SILENCE);
  try {
    for await (const frames of readEvents(PATH, { signal: AbortSignal.any([signal, silence.signal]) })) {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), LONGEST_SILENCE);
      // After a stall several come at once: the last of them is the state of things.
      const last = frames.at(-1);
      if (last) tell(JSON.parse(last.data) as CacheSnapshot);
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Until the time is over, the network is back, somebody signs in, or the signal ends it. */
function pauseFor(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(end, milliseconds);
    const forget = onSignedIn(end);
    window.addEventListener("online", end);
    signal.addEventListener("abort", end);
    function end() {
      clearTimeout(timer);
      forget();
      window.removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    }
  });
}
