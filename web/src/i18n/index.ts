/** The texts of the page in the language that was chosen. A new text: one line in each of en and zh. */

import { effectiveLanguage, type Language, usePreferences } from "../settings/preferences";
import { en, type Texts } from "./en";
import { zh } from "./zh";

const TEXTS: Record<Language, Texts> = { en, zh };

/** What each language calls itself: this is never translated. */
export const LANGUAGE_NAMES: Record<Language, string> = { en: "English", zh: "中文" };

export function useTexts(): Texts {
  return TEXTS[effectiveLanguage(usePreferences())];
}

/** For what runs outside of a component. */
export function texts(): Texts {
  return TEXTS[effectiveLanguage()];
}

export type { Texts } from "./en";
export { type Formats, makeFormats, useFormats } from "./formats";
