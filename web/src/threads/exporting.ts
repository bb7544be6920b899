/** A conversation as a file. By fetch: a plain link could not carry the credentials. */

import type { Thread } from "../api/types";
import { texts } from "../i18n";
import { explain, request } from "../signin/http";
import { toast } from "../theme/toasts";

export type Format = "markdown" | "json";

const ENDINGS: Record<Format, string> = { markdown: "md", json: "json" };

export async function exportThread(thread: Thread, format: Format): Promise<void> {
  const title = thread.title || texts().threads.untitled;
  try {
    const path = `/api/threads/${encodeURIComponent(thread.thread_id)}/export?format=${format}`;
    const file = await (await request(path)).blob();
    save(file, fileName(title, format));
  } catch (error) {
    toast({ kind: "error", text: texts().threads.exportFailed(title, explain(error)) });
  }
}

/** The title without what some system forbids in a file's name. */
export function fileName(title: string, format: Format): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what has to go
  const clean = title.replace(/[\u0000-\u001f<>:"/\\|?*]+/g, " ").replace(/\s+/g, " ");
  const name = [...clean.replace(/^[.\s]+/, "")].slice(0, 80).join("").trim();
  return `${name || "conversation"}.${ENDINGS[format]}`;
}

function save(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has taken hold of it once the click was dealt with.
  setTimeout(() => URL.revokeObjectURL(url), 1_000);
}
