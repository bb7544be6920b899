/**
 * Markdown cut into its top-level blocks, so that while text grows only its last block is read anew.
 *
 * A block that another one follows is closed for good (CommonMark, 3.): nothing that comes later changes it,
 * but the definition of a link that it refers to. So definitions are given to every block that may need one.
 */
import { fromMarkdown } from "mdast-util-from-markdown";

export interface Blocks {
  readonly text: string;
  readonly blocks: readonly string[];
  /** Where the last block begins. */
  readonly lastStart: number;
  readonly definitions: string;
}

const NONE: Blocks = { text: "", blocks: [], lastStart: 0, definitions: "" };

/** The blocks of `text`; with those of a text that it continues, only the end is read. */
export function blocksOf(text: string, before: Blocks = NONE): Blocks {
  if (text === before.text) return before;
  const from = text.startsWith(before.text) ? before : NONE;
  const tail = text.slice(from.lastStart);
  const nodes = fromMarkdown(tail).children;
  const starts = nodes.map((node) => node.position?.start.offset ?? 0);
  // Indentation before a block belongs to it.
  const lineStarts = starts.map((start) => tail.lastIndexOf("\n", start - 1) + 1);
  const fresh = lineStarts.map((start, index) => tail.slice(start, lineStarts[index + 1]).replace(/\s+$/, ""));
  const closed = from.lastStart > 0 || from.blocks.length > 0 ? from.blocks.slice(0, -1) : [];
  const defined = nodes.flatMap((node, index) =>
    node.type === "definition" && index < nodes.length - 1 ? (fresh[index] as string) : [],
  );
  return {
    text,
    blocks: [...closed, ...fresh],
    lastStart: from.lastStart + (lineStarts.at(-1) ?? 0),
    definitions: [from.definitions, ...defined].filter(Boolean).join("\n"),
  };
}
