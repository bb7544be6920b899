/** A table of any width: it scrolls in its place, with the keyboard too. */
import type { ReactNode } from "react";
import { useTexts } from "../../i18n";
import styles from "./markdown.module.css";

export function Table({ children }: { children: ReactNode }) {
  const text = useTexts().conversation;
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard
    <section className={styles.wide} tabIndex={0} aria-label={text.table}>
      <table>{children}</table>
    </section>
  );
}
