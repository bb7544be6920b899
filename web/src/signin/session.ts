/**
 * Who is signed in, and how one signs in here. One store for the whole page: it learns of every 401
 * from `http.ts`, and tells whoever must know that a session ended, began anew or changed hands.
 */

import { useStore } from "zustand";
import { createStore } from "zustand/vanilla";

import type { Config, Me } from "../api/types";
import { forgetToken, isTokenKey, keepToken, storedToken } from "./credentials";
import { ApiProblem, listenForUnauthorised, problemOf, requestJson } from "./http";

/** `ready`: signed in. `broken`: the server answers, but not what it should. */
export type Phase = "loading" | "offline" | "broken" | "signed-out" | "ready";

export interface Session {
  readonly phase: Phase;
  readonly config: Config | null;
  /** Kept when a session ends by itself, so that the page stays under the form; null: nobody was in. */
  readonly me: Me | null;
  /** What the server said, in phase `broken`. */
  readonly problem: ApiProblem | null;
}

export type SignInResult = "ok" | "refused" | "offline";

const START: Session = { phase: "loading", config: null, me: null, problem: null };

const store = createStore<Session>(() => START);
const signedIn = new Set<() => void>();
const signedOut = new Set<() => void>();
let loads = 0;

export function useSession(): Session {
  return useStore(store);
}

export function session(): Session {
  return store.getState();
}

/** Ask the server how one signs in and who we are. A newer call makes an older one's answer void. */
export async function loadSession(): Promise<void> {
  const load = ++loads;
  const patch = await askServer();
  if (load !== loads) return;
  const was = session();
  store.setState(patch);
  if (patch.phase === "ready" && was.phase !== "ready") tell(signedIn);
}

async function askServer(): Promise<Partial<Session>> {
  let config = session().config;
  try {
    config ??= await requestJson<Config>("/api/config");
    const me = await requestJson<Me>("/api/me");
    return { phase: "ready", config, me, problem: null };
  } catch (error) {
    if (!(error instanceof ApiProblem)) return { phase: "offline", config };
    if (error.status === 401 && config) return { phase: "signed-out", config };
    // 502 to 504: a proxy that does not reach the server, or a server that is about to end.
    if (error.status >= 502) return { phase: "offline", config };
    return { phase: "broken", config, problem: error };
  }
}

/** Try a token, and keep it if the server takes it. */
export async function signIn(token: string, remember: boolean): Promise<SignInResult> {
  let me: Me;
  try {
    const response = await fetch("/api/me", { headers: { Authorization: `Bearer ${token}` } });
    if (response.status === 401 || response.status === 403) return "refused";
    if (!response.ok) throw await problemOf(response);
    me = (await response.json()) as Me;
  } catch {
    return "offline";
  }
  loads += 1;
  const before = session().me?.user;
  if (before !== undefined && before !== me.user) tell(signedOut);
  keepToken(token, remember);
  store.setState({ phase: "ready", me, problem: null });
  tell(signedIn);
  return "ok";
}

/** Forget the token and whatever of the user's the page holds. */
export function signOut(): void {
  loads += 1;
  forgetToken();
  store.setState({ phase: "signed-out", me: null });
  tell(signedOut);
}

/** Called after every sign-in, the first one included. Returns what ends it. */
export function onSignedIn(callback: () => void): () => void {
  signedIn.add(callback);
  return () => signedIn.delete(callback);
}

/** Called when a user leaves, so that nothing of theirs is shown to the next one. */
export function onSignedOut(callback: () => void): () => void {
  signedOut.add(callback);
  return () => signedOut.delete(callback);
}

/** Follow refusals, and sign-ins and sign-outs of the browser's other tabs. Returns what stops it. */
export function watchSession(): () => void {
  listenForUnauthorised((refused) => {
    // An answer to an old token's request says nothing about the one in use now.
    if (session().phase !== "ready" || refused !== storedToken()) return;
    store.setState({ phase: "signed-out" });
  });
  const onStorage = (event: StorageEvent) => {
    if (!isTokenKey(event.key)) return;
    if (storedToken() !== null) void loadSession();
    else if (session().me !== null) signOut();
  };
  const onOnline = () => {
    if (session().phase === "offline") void loadSession();
  };
  window.addEventListener("storage", onStorage);
  window.addEventListener("online", onOnline);
  return () => {
    listenForUnauthorised(() => undefined);
    window.removeEventListener("storage", onStorage);
    window.removeEventListener("online", onOnline);
  };
}

function tell(listeners: ReadonlySet<() => void>): void {
  for (const listener of listeners) listener();
}

/** For tests: as the page starts. */
export function resetSession(): void {
  loads += 1;
  store.setState(START, true);
}
