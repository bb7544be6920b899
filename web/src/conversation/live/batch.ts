/** Gathers what arrives, and hands it on once per frame: a fast model must not cost a drawing per token. */
import type { NumberedEvent } from "../state/types";

export class Batch {
  private waiting = new Map<string, NumberedEvent[]>();
  private cancel: (() => void) | null = null;

  constructor(private readonly deliver: (runId: string, events: NumberedEvent[]) => void) {}

  add(runId: string, events: NumberedEvent[]): void {
    const before = this.waiting.get(runId);
    if (before) before.push(...events);
    else this.waiting.set(runId, [...events]);
    this.cancel ??= soon(() => this.flush());
  }

  flush(): void {
    this.cancel?.();
    this.cancel = null;
    const { waiting } = this;
    this.waiting = new Map();
    for (const [runId, events] of waiting) this.deliver(runId, events);
  }

  drop(): void {
    this.cancel?.();
    this.cancel = null;
    this.waiting.clear();
  }
}

/** With the next frame; a page that nobody sees has none. */
function soon(callback: () => void): () => void {
  let frame = 0;
  const timer = setTimeout(callback, document.hidden ? 200 : 100);
  if (!document.hidden) frame = requestAnimationFrame(callback);
  return () => {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
  };
}
