/** The page's addresses, over the history API: `/` (a new conversation), `/t/:thread`, `/keep`, `/settings`. */
import { useSyncExternalStore } from "react";

export type Route =
  | { page: "conversation"; threadId: string | null }
  | { page: "keep" }
  | { page: "settings" }
  | { page: "unknown" };

export function parseRoute(path: string): Route {
  const parts = path.split("/").filter(Boolean);
  if (parts.length === 0) return { page: "conversation", threadId: null };
  if (parts.length === 2 && parts[0] === "t") return { page: "conversation", threadId: decode(parts[1] ?? "") };
  if (parts.length === 1 && (parts[0] === "keep" || parts[0] === "settings")) return { page: parts[0] };
  return { page: "unknown" };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const threadPath = (threadId: string): string => `/t/${encodeURIComponent(threadId)}`;

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("popstate", listener);
  };
}

/** Goes to an address of the page; `replace` leaves no entry to come back to. */
export function navigate(path: string, options: { replace?: boolean } = {}): void {
  if (path === window.location.pathname) return;
  if (options.replace) window.history.replaceState(null, "", path);
  else window.history.pushState(null, "", path);
  for (const listener of listeners) listener();
}

export function useLocationPath(): string {
  return useSyncExternalStore(subscribe, () => window.location.pathname);
}
