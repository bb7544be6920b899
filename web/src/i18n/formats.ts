/** Numbers, dates and durations, by `Intl`, in the language of the page. */

import { useMemo } from "react";

import { effectiveLanguage, type Language, usePreferences } from "../settings/preferences";

const LOCALES: Record<Language, string> = { en: "en", zh: "zh-CN" };

/** From each of these many seconds on, a span is told in that unit. */
const UNITS = [
  [365 * 86_400, "year"],
  [30 * 86_400, "month"],
  [7 * 86_400, "week"],
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
] as const;

export interface Formats {
  /** A whole or broken number, with at most `digits` digits behind the point. */
  number(value: number, digits?: number): string;
  /** 0.5 as "50%". */
  percent(value: number): string;
  /** "3 minutes ago"; "now" within a minute. */
  relative(date: Date, now?: Date): string;
  /** The day and the time, in full. */
  dateTime(date: Date): string;
  /** "14:05", by the clock that is usual there. */
  clock(date: Date): string;
  /** Seconds as people say them: "0.4 s", "12 s", "3 min", "2 h". */
  duration(seconds: number): string;
}

export function makeFormats(language: Language): Formats {
  const locale = LOCALES[language];
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const dateTime = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const clock = new Intl.DateTimeFormat(locale, { timeStyle: "short" });
  const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
  const numbers = new Map<number, Intl.NumberFormat>();

  function number(value: number, digits = 0): string {
    let format = numbers.get(digits);
    if (!format) {
      format = new Intl.NumberFormat(locale, { maximumFractionDigits: digits });
      numbers.set(digits, format);
    }
    return format.format(value);
  }

  function unit(value: number, name: string, digits = 0): string {
    return new Intl.NumberFormat(locale, {
      style: "unit",
      unit: name,
      unitDisplay: "short",
      maximumFractionDigits: digits,
    }).format(value);
  }

  return {
    number,
    percent: (value) => percent.format(value),
    relative(date, now = new Date()) {
      // A clock that is behind the server's must not say that something will have happened.
      const seconds = Math.max(0, (now.getTime() - date.getTime()) / 1000);
      for (const [size, name] of UNITS) {
        if (seconds >= size) return relative.format(-Math.floor(seconds / size), name);
      }
      return relative.format(0, "second");
    },
    dateTime: (date) => dateTime.format(date),
    clock: (date) => clock.format(date),
    duration(seconds) {
      if (seconds < 10) return unit(seconds, "second", 1);
      if (seconds < 60) return unit(Math.round(seconds), "second");
      if (seconds < 3_600) return unit(Math.floor(seconds / 60), "minute");
      if (seconds < 86_400) return unit(seconds / 3_600, "hour", 1);
      return unit(seconds / 86_400, "day", 1);
    },
  };
}

export function useFormats(): Formats {
  const language = effectiveLanguage(usePreferences());
  return useMemo(() => makeFormats(language), [language]);
}
