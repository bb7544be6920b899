/** Blocks of a text that grows are those of the whole text, read from its end alone. */
import { describe, expect, it } from "vitest";
import { type Blocks, blocksOf } from "./blocks";

const DOCUMENTS = {
  prose: "One\ntwo.\n\nThree **four\nfive**.\n\n\n\nSix.\n",
  lists: "- a\n- b\n\n  more of b\n\n- c\n  1. d\n  2. e\n\nAfter.\n\n1. x\n\n   y\n",
  code: "Before\n```python\ndef f():\n\n    return 1\n```\nAfter\n\n    indented\n\n    code\n\n~~~\n```\n~~~\n",
  headings: "# One\ntext\n\nTwo\n===\n\n- - -\n\nThree\n---\n",
  quotes: "> a\nlazy\n\n> b\n>\n> c\n\nd\n",
  tables: "| a | b |\n|---|---|\n| 1 | 2 |\n\nAfter | it\n",
  html: "<div>\n\n*a*\n\n</div>\n\nText\n",
  links:
    "[a][one] and [b][two]\n\n[one]: https://example.com/1\n\nMore [a][one].\n\n[two]: https://example.com/2\n\nEnd.",
  blank: "\n\n   \n\nText",
};

function grown(text: string, step: number): Blocks {
  let blocks: Blocks | undefined;
  for (let end = 0; end < text.length + step; end += step) blocks = blocksOf(text.slice(0, end), blocks);
  return blocks as Blocks;
}

describe("blocksOf", () => {
  for (const [name, text] of Object.entries(DOCUMENTS)) {
    it(`gives the same for ${name}, in whatever pieces they come`, () => {
      const whole = blocksOf(text);
      for (const step of [1, 2, 3, 7]) expect(grown(text, step).blocks).toEqual(whole.blocks);
    });
  }

  it("never changes a block that another one follows", () => {
    const text = Object.values(DOCUMENTS).join("\n\n");
    let before: Blocks | undefined;
    for (let end = 0; end <= text.length; end += 1) {
      const now: Blocks = blocksOf(text.slice(0, end), before);
      if (before) expect(now.blocks.slice(0, before.blocks.length - 1)).toEqual(before.blocks.slice(0, -1));
      before = now;
    }
  });

  it("finds the definitions that other blocks may refer to", () => {
    const { definitions } = grown(DOCUMENTS.links, 1);
    expect(definitions.split("\n")).toEqual(["[one]: https://example.com/1", "[two]: https://example.com/2"]);
  });

  it("begins anew with a text that does not continue the last one", () => {
    expect(blocksOf("Other", blocksOf("One\n\nTwo")).blocks).toEqual(["Other"]);
  });
});
