import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

/** Read from the project's folder: vite gives a test no styles. */
const SHEET = readFileSync("src/theme/theme.css", "utf8");

/** The colours as the sheet gives them: [light, dark]. */
const COLOURS = new Map(
  [...SHEET.matchAll(/--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map(([, name, light, dark]) => [
    name,
    [light ?? "", dark ?? ""] as const,
  ]),
);

/** As WCAG 2 defines it. */
function contrast(one: string, other: string): number {
  const luminance = (colour: string) => {
    const [red = 0, green = 0, blue = 0] = [1, 3, 5]
      .map((at) => Number.parseInt(colour.slice(at, at + 2), 16) / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [low = 0, high = 0] = [luminance(one), luminance(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
}

const GROUNDS = ["background", "surface", "surface-raised", "surface-sunken"];
const on = (grounds: string[], ...names: string[]) =>
  names.flatMap((name) => grounds.map((ground) => [name, ground] as const));

const TEXTS = [
  ...on([...GROUNDS, "bubble", "accent-soft"], "text"),
  ...on(GROUNDS, "text-muted", "link", "danger", "success", "warning", "info"),
  ...on(["accent-soft"], "link"),
  ...on(["code-background"], "text", "code-comment", "code-keyword", "code-string", "code-number", "code-name"),
  ["accent-text", "accent"],
  ["accent-text", "accent-hover"],
  ["danger-text", "danger"],
  ["danger", "danger-soft"],
  ["success", "success-soft"],
  ["warning", "warning-soft"],
  ["info", "info-soft"],
] as const;

const SHAPES = on(GROUNDS, "border-strong", "focus", "accent", "chart-1", "chart-2", "chart-3");

describe.each(["light", "dark"])("in the %s theme", (theme) => {
  const colour = (name: string) => {
    const pair = COLOURS.get(name);
    if (!pair) throw new Error(`theme.css has no colour ${name}`);
    return pair[theme === "light" ? 0 : 1];
  };

  it.each(TEXTS)("%s can be read on %s", (text, ground) => {
    expect(contrast(colour(text), colour(ground))).toBeGreaterThanOrEqual(4.5);
  });

  it.each(SHAPES)("%s can be made out on %s", (shape, ground) => {
    expect(contrast(colour(shape), colour(ground))).toBeGreaterThanOrEqual(3);
  });
});
