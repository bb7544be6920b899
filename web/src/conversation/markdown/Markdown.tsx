/**
 * A model's text as Markdown. HTML in it is shown, never run; links leave without a trace of us.
 *
 * Each top-level block is drawn for itself and remembered, so an answer of any length costs per
 * token what its last block costs.
 */
import { memo, useDeferredValue, useRef } from "react";
import ReactMarkdown, { type Components, defaultUrlTransform } from "react-markdown";
import remarkGfm from "remark-gfm";
import { useTexts } from "../../i18n";
import { type Blocks, blocksOf } from "./blocks";
import { Code } from "./Code";
import styles from "./markdown.module.css";
import { Table } from "./Table";

export function Markdown({ text, isGrowing = false }: { text: string; isGrowing?: boolean }) {
  // While text pours in, a drawing that is late is left out in favour of the next.
  const shown = useDeferredValue(text);
  const before = useRef<Blocks | undefined>(undefined);
  before.current = blocksOf(shown, before.current);
  const { blocks, definitions } = before.current;
  return (
    <div className={styles.markdown}>
      {blocks.map((block, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: blocks are only ever added at the end
        <Block key={index} text={block} definitions={definitions} isOpen={isGrowing && index === blocks.length - 1} />
      ))}
    </div>
  );
}

interface BlockProps {
  text: string;
  definitions: string;
  /** Whether more of it may come. */
  isOpen: boolean;
}

const Block = memo(
  function Block({ text, definitions, isOpen }: BlockProps) {
    const source = text.includes("[") && definitions ? `${text}\n\n${definitions}` : text;
    return (
      <ReactMarkdown
        remarkPlugins={PLUGINS}
        components={isOpen ? OPEN : CLOSED}
        urlTransform={safeUrl}
        disallowedElements={NO_IMAGES}
      >
        {source}
      </ReactMarkdown>
    );
  },
  (old, now) =>
    old.text === now.text &&
    old.isOpen === now.isOpen &&
    (old.definitions === now.definitions || !now.text.includes("[")),
);

const PLUGINS = [remarkGfm];

/** An image is a request to somebody else's server, with what the model put into its address. */
const NO_IMAGES = ["img"];

/** Addresses of the web and of mail; what only looks like one is dropped. */
function safeUrl(url: string): string {
  return /^(https?:|mailto:|#)/i.test(url) ? defaultUrlTransform(url) : "";
}

/** Of a list of tasks: it says how things stand, and cannot be changed. */
function Checkbox({ isChecked }: { isChecked: boolean }) {
  const text = useTexts().conversation;
  return <input type="checkbox" checked={isChecked} disabled aria-label={isChecked ? text.checked : text.unchecked} />;
}

function componentsWith(isOpen: boolean): Components {
  return {
    a: ({ node: _, children, href }) =>
      href ? (
        <a href={href} target="_blank" rel="noopener noreferrer nofollow">
          {children}
        </a>
      ) : (
        <span>{children}</span>
      ),
    pre: ({ node: _, children }) => <Code isOpen={isOpen}>{children}</Code>,
    input: ({ checked }) => <Checkbox isChecked={checked === true} />,
    table: ({ node: _, children }) => <Table>{children}</Table>,
  };
}

const OPEN = componentsWith(true);
const CLOSED = componentsWith(false);
