/** The cache as it is now and was in the last minutes, for as long as the view is open and not paused. */

import { useEffect, useReducer } from "react";

import { type Connection, followCache } from "./follow";
import { type Sample, withSample } from "./history";
import type { CacheSnapshot } from "./snapshot";

export interface CacheState {
  /** The last one told; null before the first. */
  readonly snapshot: CacheSnapshot | null;
  readonly history: readonly Sample[];
  readonly connection: Connection;
}

type Told = { readonly connection: Connection } | { readonly sample: Sample };

const START: CacheState = { snapshot: null, history: [], connection: "connecting" };

function reduce(state: CacheState, told: Told): CacheState {
  if ("connection" in told) {
    return told.connection === state.connection ? state : { ...state, connection: told.connection };
  }
  return { ...state, snapshot: told.sample.snapshot, history: withSample(state.history, told.sample) };
}

export function useCache(isPaused: boolean): CacheState {
  const [state, dispatch] = useReducer(reduce, START);

  useEffect(() => {
    if (isPaused) return;
    const leaving = new AbortController();
    void followCache(
      {
        onSnapshot: (snapshot) => dispatch({ sample: { at: Date.now() / 1000, snapshot } }),
        onConnection: (connection) => dispatch({ connection }),
      },
      leaving.signal,
    );
    return () => leaving.abort();
  }, [isPaused]);

  return state;
}
