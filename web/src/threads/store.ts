/**
 * The conversations of whoever is signed in, as far as the list shows them. Changes are shown at once
 * and taken back, with a message, where the server refuses them.
 */

import { useStore } from "zustand";
import { createStore } from "zustand/vanilla";

import type { Thread } from "../api/types";
import { texts } from "../i18n";
import { ApiProblem, explain, request, requestJson } from "../signin/http";
import { onSignedOut } from "../signin/session";
import { dismiss, toast } from "../theme/toasts";
import { append, type Page, renew, withoutThread, withThread } from "./list";

export interface ThreadsState {
  /** What is searched for; empty: everything is listed. */
  readonly query: string;
  /** Whether the list is an answer to `query` at all, if perhaps an old one. */
  readonly isLoaded: boolean;
  readonly isLoading: boolean;
  readonly isLoadingMore: boolean;
  /** Why the last request for the list failed; null: it did not. */
  readonly error: unknown;
  readonly threads: readonly Thread[];
  readonly cursor: string | null;
  /** The one that is open, where the list has not come so far. */
  readonly aside: Thread | null;
}

const START: ThreadsState = {
  query: "",
  isLoaded: false,
  isLoading: false,
  isLoadingMore: false,
  error: null,
  threads: [],
  cursor: null,
  aside: null,
};

const PAGE = 30;

/** Milliseconds. */
const SAME_CLOCK = 3_000;

const store = createStore<ThreadsState>(() => START);
const { getState, setState } = store;

/** Deleted here: a late answer of the server must not bring them back into the list. */
const removed = new Set<string>();
/** The newest request for the list: answers to older ones are void. */
let newest = 0;
/** Which request was the newest when a conversation was touched: older answers do not know of that. */
const touched = new Map<string, number>();

const otherTabs = typeof BroadcastChannel === "undefined" ? null : new BroadcastChannel("llmkeep.threads");

export function useThreads(): ThreadsState {
  return useStore(store);
}

/** What is known of a conversation, be it in the list or not. */
export function useThread(threadId: string | null): Thread | undefined {
  return useStore(store, (state) => knownThread(state, threadId));
}

function knownThread({ threads, aside }: ThreadsState, threadId: string | null): Thread | undefined {
  const listed = threads.find((each) => each.thread_id === threadId);
  return listed ?? (aside?.thread_id === threadId ? (aside ?? undefined) : undefined);
}

function pathOf(threadId: string): string {
  return `/api/threads/${encodeURIComponent(threadId)}`;
}

function pagePath(cursor: string | null): string {
  const query = new URLSearchParams({ limit: String(PAGE) });
  if (cursor !== null) query.set("cursor", cursor);
  if (getState().query !== "") query.set("q", getState().query);
  return `/api/threads?${query}`;
}

async function load(): Promise<void> {
  const mine = ++newest;
  setState({ isLoading: true, isLoadingMore: false });
  try {
    const page = visible(await requestJson<Page>(pagePath(null)));
    if (mine !== newest) return;
    setState((was) => ({
      isLoaded: true,
      error: null,
      threads: touchedSince(mine, was).reduce(withThread, was.isLoaded ? renew(was.threads, page) : page.threads),
      // Pages loaded before are still there, and so the cursor behind them.
      cursor: was.isLoaded && was.threads.length > PAGE && page.next_cursor !== null ? was.cursor : page.next_cursor,
    }));
  } catch (error) {
    if (mine === newest && !isSessionOver(error)) setState({ error });
  } finally {
    if (mine === newest) setState({ isLoading: false });
  }
}

/** What an answer to request `mine` may be too old for. A search finds what the server says. */
function touchedSince(mine: number, { query, threads }: ThreadsState): Thread[] {
  if (query !== "") return [];
  return threads.filter(({ thread_id: id }) => (touched.get(id) ?? 0) >= mine && !removed.has(id));
}

async function loadMore(): Promise<void> {
  const { cursor, isLoading, isLoadingMore } = getState();
  if (cursor === null || isLoading || isLoadingMore) return;
  const mine = ++newest;
  setState({ isLoadingMore: true });
  try {
    const page = visible(await requestJson<Page>(pagePath(cursor)));
    if (mine !== newest) return;
    setState(({ threads }) => ({ error: null, threads: append(threads, page), cursor: page.next_cursor }));
  } catch (error) {
    if (mine === newest && !isSessionOver(error)) setState({ error });
  } finally {
    if (mine === newest) setState({ isLoadingMore: false });
  }
}

/** Then the page asks to sign in, and the list is loaded anew. */
function isSessionOver(error: unknown): boolean {
  return error instanceof ApiProblem && error.status === 401;
}

function visible(page: Page): Page {
  return { ...page, threads: page.threads.filter((each) => !removed.has(each.thread_id)) };
}

async function search(query: string): Promise<void> {
  if (query === getState().query) return;
  setState({ query, isLoaded: false, cursor: null });
  await load();
}

/** Something of a conversation has changed, as its own stream told: no need to ask the server. */
function touch(threadId: string, change: { title?: string; status?: Thread["status"] }): void {
  if (removed.has(threadId)) return;
  touched.set(threadId, newest);
  const { threads, query } = getState();
  const now = new Date().toISOString();
  const known = knownThread(getState(), threadId);
  const thread = { ...(known ?? newThread(threadId, now)), ...change };
  if (change.status !== undefined && change.status !== known?.status) thread.updated_at = now;
  // Not in the list, it is far behind in it, unless it is busy now; and it may not be what is searched for.
  const isListed = threads.some((each) => each.thread_id === threadId);
  const joins = isListed || (change.status === "busy" && query === "");
  setState(joins ? { threads: withThread(threads, thread) } : { aside: thread });
  otherTabs?.postMessage("changed");
}

function newThread(threadId: string, now: string): Thread {
  return {
    thread_id: threadId,
    title: null,
    status: "idle",
    created_at: now,
    updated_at: now,
    metadata: {},
    last_run_id: null,
  };
}

async function rename(thread: Thread, title: string): Promise<void> {
  const id = thread.thread_id;
  patch(id, { title });
  try {
    const renamed = await requestJson<Thread>(pathOf(id), { method: "PATCH", body: { title } });
    patch(id, { title: renamed.title });
    otherTabs?.postMessage("changed");
  } catch (error) {
    // Unless it was renamed again since, or its answer's title has come.
    if (getState().threads.find((each) => each.thread_id === id)?.title === title) patch(id, { title: thread.title });
    const t = texts().threads;
    toast({ kind: "error", text: t.renameFailed(thread.title || t.untitled, explain(error)) });
  }
}

function patch(threadId: string, change: Partial<Thread>): void {
  setState(({ threads }) => ({
    threads: threads.map((each) => (each.thread_id === threadId ? { ...each, ...change } : each)),
  }));
}

/** Delete it, and offer to undo that for as long as the server can. True once it is deleted. */
async function remove(thread: Thread): Promise<boolean> {
  const id = thread.thread_id;
  removed.add(id);
  setState(({ threads }) => ({ threads: withoutThread(threads, id) }));
  try {
    const until = await askToDelete(id);
    offerUndo(thread, until);
  } catch (error) {
    // Already gone is what was asked for.
    if (error instanceof ApiProblem && error.status === 404) return true;
    putBack(thread);
    const t = texts().threads;
    toast({ kind: "error", text: t.deleteFailed(thread.title || t.untitled, explain(error)) });
    return false;
  }
  otherTabs?.postMessage("changed");
  return true;
}

/** Until when it can be restored, on this machine's clock: the server's may be another. */
async function askToDelete(threadId: string): Promise<number> {
  const response = await request(pathOf(threadId), { method: "DELETE" });
  const { restorable_until: until } = (await response.json()) as { restorable_until: string };
  const skew = Date.now() - Date.parse(response.headers.get("Date") ?? "");
  // The header is a second or two behind by itself; only more than that is another clock.
  return Date.parse(until) + (Math.abs(skew) > SAME_CLOCK ? skew : 0);
}

interface Undo {
  readonly toastId: number;
  readonly thread: Thread;
}

/** What can still be undone, the last deletion last. */
let undos: Undo[] = [];

function offerUndo(thread: Thread, until: number): void {
  const t = texts();
  const toastId = toast({
    text: t.threads.deleted(thread.title || t.threads.untitled),
    until,
    action: { label: t.common.undo, run: () => void restore(thread) },
  });
  undos.push({ toastId, thread });
  setTimeout(() => forgetUndo(thread), Math.max(0, until - Date.now()));
}

function forgetUndo(thread: Thread): void {
  undos = undos.filter((each) => each.thread !== thread);
}

/** Bring back what was deleted last. False: there is nothing to bring back. */
function undoLast(): boolean {
  const last = undos.at(-1);
  if (!last) return false;
  dismiss(last.toastId);
  void restore(last.thread);
  return true;
}

async function restore(thread: Thread): Promise<void> {
  forgetUndo(thread);
  putBack(thread);
  const { threads: t } = texts();
  const title = thread.title || t.untitled;
  try {
    const restored = await requestJson<Thread>(`${pathOf(thread.thread_id)}/restore`, { method: "POST" });
    setState(({ threads }) => ({ threads: withThread(threads, restored) }));
    toast({ text: t.restored(title) });
    otherTabs?.postMessage("changed");
  } catch (error) {
    removed.add(thread.thread_id);
    setState(({ threads }) => ({ threads: withoutThread(threads, thread.thread_id) }));
    const isTooLate = error instanceof ApiProblem && error.status === 404;
    toast({ kind: "error", text: isTooLate ? t.tooLate(title) : t.restoreFailed(title, explain(error)) });
    if (!isTooLate) undos.push({ thread, toastId: 0 });
  }
}

function putBack(thread: Thread): void {
  removed.delete(thread.thread_id);
  setState(({ threads }) => ({ threads: withThread(threads, thread) }));
}

/** As the page starts: nothing of the user who left is kept. */
function reset(): void {
  newest += 1;
  removed.clear();
  touched.clear();
  undos = [];
  setState(START, true);
}

onSignedOut(reset);
otherTabs?.addEventListener("message", () => void load());

export const threadStore = {
  getState,
  load,
  /** The same as `load`, for whoever knows that something has changed. */
  refresh: load,
  loadMore,
  search,
  touch,
  rename,
  remove,
  undoLast,
  reset,
};
