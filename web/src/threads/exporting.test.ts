import { expect, it } from "vitest";

import { fileName } from "./exporting";

it.each([
  ["What is 12 * 34?", "What is 12 34.md"],
  ["解释一下租约", "解释一下租约.md"],
  ["../../etc/passwd", "etc passwd.md"],
  ["  \u0000 ", "conversation.md"],
  ["...", "conversation.md"],
  ["x".repeat(200), `${"x".repeat(80)}.md`],
])("a file is named after the title, without what a system forbids: %s", (title, name) => {
  expect(fileName(title, "markdown")).toBe(name);
});
