/** The page's frame: the list of conversations at the side (a drawer on a phone), the content beside it. */
import { type ReactNode, useEffect, useRef, useState } from "react";
import { useTexts } from "../i18n";
import { useSession } from "../signin";
import { IconButton, icons } from "../theme";
import { ThreadList, useThread } from "../threads";
import { Link } from "./link";
import { navigate, type Route, threadPath } from "./navigation";
import styles from "./shell.module.css";

export function Shell({ route, children }: { route: Route; children: ReactNode }) {
  const { navigation: text, threads } = useTexts();
  const [open, setOpen] = useState(false);
  const bar = useRef<HTMLElement>(null);
  const side = useRef<HTMLDivElement>(null);
  const close = () => setOpen(false);
  const { me } = useSession();
  const activeId = route.page === "conversation" ? route.threadId : null;

  const title = useThread(activeId)?.title;
  const place = { keep: text.keep, settings: text.settings, conversation: title, unknown: text.notFound }[route.page];
  useEffect(() => {
    document.title = place ? `${place} · llmkeep` : "llmkeep";
  }, [place]);

  useEffect(() => {
    if (!open) return;
    side.current?.querySelector("button")?.focus();
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Escape") return;
      setOpen(false);
      bar.current?.querySelector("button")?.focus();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [open]);

  const goTo = (path: string) => {
    close();
    navigate(path);
  };

  return (
    <div className={styles.shell}>
      <a href="#content" className={styles.skip}>
        {text.skip}
      </a>
      <header className={styles.bar} ref={bar}>
        <IconButton label={text.menu} icon={<icons.Menu />} aria-expanded={open} onClick={() => setOpen(true)} />
        <span className={styles.name}>llmkeep</span>
        <Link href="/" className="button button-quiet button-icon" aria-label={threads.fresh} title={threads.fresh}>
          <icons.Plus />
        </Link>
      </header>
      {open && <div className={styles.shade} onClick={close} aria-hidden="true" />}
      <div className={styles.side} data-open={open} ref={side}>
        <div className={styles.brand}>
          <Link href="/" onClick={close} className={styles.name}>
            llmkeep
          </Link>
          <IconButton label={text.closeMenu} icon={<icons.Close />} className={styles.close} onClick={close} />
        </div>
        <nav className={styles.list} aria-label={text.conversations}>
          <ThreadList
            activeId={activeId}
            onOpen={(threadId) => goTo(threadPath(threadId))}
            onNew={() => goTo("/")}
            onDeleted={(threadId) => threadId === activeId && navigate("/", { replace: true })}
          />
        </nav>
        <nav className={styles.links} aria-label={text.main}>
          {me?.administrator && (
            <Link href="/keep" onClick={close} aria-current={route.page === "keep" ? "page" : undefined}>
              <icons.Keep /> {text.keep}
            </Link>
          )}
          <Link href="/settings" onClick={close} aria-current={route.page === "settings" ? "page" : undefined}>
            <icons.Settings /> {text.settings}
          </Link>
        </nav>
      </div>
      <main id="content" className={styles.content} tabIndex={-1} inert={open}>
        {children}
      </main>
    </div>
  );
}
