/** Short messages that go away by themselves; a failure stays until it was read. */

import { createStore } from "zustand/vanilla";

export interface Toast {
  readonly id: number;
  readonly text: string;
  readonly kind: "info" | "error";
  readonly action: { readonly label: string; run(): void } | null;
  /** Milliseconds since the epoch, shown as a countdown; null: no countdown. */
  readonly until: number | null;
}

const INFO_LASTS = 6_000;

export const toastStore = createStore<{ readonly toasts: readonly Toast[] }>(() => ({ toasts: [] }));

let lastId = 0;

/** Show a message; returns its id for `dismiss`. */
export function toast(asked: Partial<Omit<Toast, "id">> & { text: string }): number {
  const shown: Toast = { kind: "info", action: null, until: null, ...asked, id: ++lastId };
  toastStore.setState(({ toasts }) => ({ toasts: [...toasts, shown] }));
  const lasts = shown.until === null ? INFO_LASTS : shown.until - Date.now();
  if (shown.kind === "info") setTimeout(() => dismiss(shown.id), Math.max(0, lasts));
  return shown.id;
}

export function dismiss(id: number): void {
  toastStore.setState(({ toasts }) => ({ toasts: toasts.filter((each) => each.id !== id) }));
}
