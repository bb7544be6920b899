/** The browser's two stores, which may be full, forbidden or absent: then nothing is remembered. */

export type Keeping = "session" | "device";

function storeOf(keeping: Keeping): Storage | null {
  try {
    return keeping === "device" ? window.localStorage : window.sessionStorage;
  } catch {
    return null;
  }
}

export function readStored(key: string, keeping: Keeping = "device"): string | null {
  try {
    return storeOf(keeping)?.getItem(key) ?? null;
  } catch {
    return null;
  }
}

/** Null forgets the key. */
export function writeStored(key: string, value: string | null, keeping: Keeping = "device"): void {
  try {
    const store = storeOf(keeping);
    if (value === null) store?.removeItem(key);
    else store?.setItem(key, value);
  } catch {
    // A full or forbidden store: the choice holds until the page is closed.
  }
}
