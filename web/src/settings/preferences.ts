/**
 * What a person chose for the page: language, appearance, model. Kept in this browser, in effect at
 * once, also in its other tabs. `public/theme.js` reads the same entry before the first paint.
 */

import { useStore } from "zustand";
import { createStore } from "zustand/vanilla";

import { readStored, writeStored } from "./storage";

export const LANGUAGES = ["en", "zh"] as const;
export const THEMES = ["system", "light", "dark"] as const;

export type Language = (typeof LANGUAGES)[number];
export type Theme = (typeof THEMES)[number];

export interface Preferences {
  /** Null until one was chosen: then the browser's. */
  readonly language: Language | null;
  readonly theme: Theme;
  /** An id of `/api/models`; null leaves it to the server. */
  readonly model: string | null;
}

const KEY = "llmkeep.preferences";
const DEFAULTS: Preferences = { language: null, theme: "system", model: null };

/** What was stored, as far as it can be understood: it may be another version's, or a person's edit. */
export function parsePreferences(text: string | null): Preferences {
  let stored: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text ?? "{}");
    if (typeof parsed === "object" && parsed !== null) stored = parsed as Record<string, unknown>;
  } catch {
    // Not JSON: as if nothing had been stored.
  }
  return {
    language: LANGUAGES.find((each) => each === stored.language) ?? DEFAULTS.language,
    theme: THEMES.find((each) => each === stored.theme) ?? DEFAULTS.theme,
    model: typeof stored.model === "string" ? stored.model : DEFAULTS.model,
  };
}

const store = createStore<Preferences>(() => parsePreferences(readStored(KEY)));

export function preferences(): Preferences {
  return store.getState();
}

export function usePreferences(): Preferences {
  return useStore(store);
}

export function setPreference<Name extends keyof Preferences>(name: Name, value: Preferences[Name]): void {
  store.setState({ [name]: value } as Pick<Preferences, Name>);
  writeStored(KEY, JSON.stringify(store.getState()));
  applyPreferences();
}

/** The first of the browser's languages that the page speaks, else English. */
export function browserLanguage(languages: readonly string[] = navigator.languages): Language {
  for (const each of languages) {
    const spoken = LANGUAGES.find((language) => each.toLowerCase().split("-")[0] === language);
    if (spoken) return spoken;
  }
  return "en";
}

export function effectiveLanguage({ language }: Preferences = preferences()): Language {
  return language ?? browserLanguage();
}

/** Tell the document: the style sheet and screen readers go by these two attributes. */
export function applyPreferences(): void {
  const { theme } = preferences();
  const root = document.documentElement;
  root.lang = effectiveLanguage() === "zh" ? "zh-CN" : "en";
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
}

/** Follow the choices made in other tabs. Returns what stops it. */
export function followOtherTabs(): () => void {
  const onStorage = (event: StorageEvent) => {
    if (event.key !== KEY && event.key !== null) return;
    store.setState(parsePreferences(readStored(KEY)));
    applyPreferences();
  };
  window.addEventListener("storage", onStorage);
  return () => window.removeEventListener("storage", onStorage);
}
