/** A block of code: its language, a way to copy it, and colours as soon as it is whole. */
import { isValidElement, memo, type ReactNode, useEffect, useState } from "react";
import { useTexts } from "../../i18n";
import { CopyButton } from "../view/CopyButton";
import styles from "./markdown.module.css";

export function Code({ children, isOpen }: { children: ReactNode; isOpen: boolean }) {
  const { source, language } = read(children);
  return <CodeBlock source={source} language={language} isOpen={isOpen} />;
}

/** What react-markdown puts into a `pre`: one `code` with a class for the language. */
function read(children: ReactNode): { source: string; language: string } {
  if (!isValidElement<{ children?: unknown; className?: string }>(children)) return { source: "", language: "" };
  const source = String(children.props.children ?? "").replace(/\n$/, "");
  const language = /language-([\w+#.-]+)/.exec(children.props.className ?? "")?.[1] ?? "";
  return { source, language };
}

export const CodeBlock = memo(function CodeBlock({
  source,
  language,
  isOpen = false,
}: {
  source: string;
  language: string;
  isOpen?: boolean;
}) {
  const text = useTexts().conversation;
  const coloured = useColours(source, isOpen ? "" : language);
  return (
    <figure className={styles.code}>
      <figcaption className={styles.codeBar}>
        <span>{language || text.plainCode}</span>
        <CopyButton text={source} label={text.copyCode} />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard */}
      <section tabIndex={0} aria-label={language ? text.code(language) : text.plainCode}>
        <pre>
          <code>{coloured ?? source}</code>
        </pre>
      </section>
    </figure>
  );
});

/** The source in colours, null until there are any: the highlighter is loaded when first needed. */
function useColours(source: string, language: string): ReactNode {
  const [coloured, setColoured] = useState<{ of: string; nodes: ReactNode } | null>(null);
  useEffect(() => {
    if (!language) return;
    let isWanted = true;
    import("./highlight").then(
      ({ highlight }) => isWanted && setColoured({ of: source, nodes: highlight(source, language) }),
      () => undefined, // no highlighter: plain code reads as well
    );
    return () => {
      isWanted = false;
    };
  }, [source, language]);
  return coloured?.of === source ? coloured.nodes : null;
}
