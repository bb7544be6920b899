/** One conversation in the list: a link, its state, and what can be done with it. */

import { type FormEvent, type KeyboardEvent, type MouseEvent, useEffect, useRef, useState } from "react";

import type { Thread } from "../api/types";
import { threadPath } from "../app/navigation";
import { useFormats, useTexts } from "../i18n";
import { icons, Menu, Spinner } from "../theme";
import { exportThread } from "./exporting";
import { threadStore } from "./store";
import styles from "./threads.module.css";

const LONGEST_TITLE = 200;

interface ThreadRowProps {
  thread: Thread;
  now: Date;
  isActive: boolean;
  /** Whether Tab stops here; arrow keys reach the others. */
  isTabStop: boolean;
  onOpen(threadId: string): void;
  onRemove(thread: Thread): void;
  onFocus(threadId: string): void;
}

export function ThreadRow({ thread, now, isActive, isTabStop, onOpen, onRemove, onFocus }: ThreadRowProps) {
  const t = useTexts().threads;
  const [isRenaming, setRenaming] = useState(false);
  const link = useRef<HTMLAnchorElement>(null);
  const title = thread.title || t.untitled;
  const tabIndex = isTabStop ? 0 : -1;

  function open(event: MouseEvent) {
    // Any other click means a new tab or window, as with every link.
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    onOpen(thread.thread_id);
  }

  function onKeyDown(event: KeyboardEvent) {
    if (event.key === "F2") setRenaming(true);
    else if (event.key === "Delete") onRemove(thread);
    else return;
    event.preventDefault();
  }

  if (isRenaming) {
    return (
      <li className={styles.row}>
        <TitleField
          thread={thread}
          onDone={(isByKey) => {
            setRenaming(false);
            if (isByKey) requestAnimationFrame(() => link.current?.focus());
          }}
        />
      </li>
    );
  }
  return (
    <li className={styles.row} data-active={isActive} onFocus={() => onFocus(thread.thread_id)}>
      <a
        ref={link}
        className={styles.link}
        href={threadPath(thread.thread_id)}
        aria-current={isActive ? "page" : undefined}
        tabIndex={tabIndex}
        title={title}
        data-thread={thread.thread_id}
        onClick={open}
        onKeyDown={onKeyDown}
      >
        <span className={thread.title ? styles.title : `${styles.title} ${styles.untitled}`}>{title}</span>
        <Meta thread={thread} now={now} />
      </a>
      <Menu
        label={t.actions(title)}
        className={styles.actions}
        tabIndex={tabIndex}
        items={[
          { label: t.rename, icon: <icons.Edit />, run: () => setRenaming(true) },
          { label: t.exportMarkdown, icon: <icons.Download />, run: () => void exportThread(thread, "markdown") },
          { label: t.exportJson, icon: <icons.Download />, run: () => void exportThread(thread, "json") },
          { label: t.remove, icon: <icons.Trash />, isDangerous: true, run: () => onRemove(thread) },
        ]}
      />
    </li>
  );
}

function Meta({ thread, now }: { thread: Thread; now: Date }) {
  const t = useTexts().threads;
  const formats = useFormats();
  const date = new Date(thread.updated_at);
  return (
    <span className={styles.meta}>
      {thread.status === "busy" && (
        <span className={styles.busy}>
          <Spinner />
          {t.busy}
        </span>
      )}
      {thread.status === "interrupted" && <span className={styles.waiting}>{t.interrupted}</span>}
      {thread.status === "error" && <span className={styles.failed}>{t.error}</span>}
      <time dateTime={thread.updated_at} title={formats.dateTime(date)}>
        {formats.relative(date, now)}
      </time>
    </span>
  );
}

function TitleField({ thread, onDone }: { thread: Thread; onDone(isByKey: boolean): void }) {
  const t = useTexts().threads;
  const was = thread.title ?? "";
  const [title, setTitle] = useState(was);
  const field = useRef<HTMLInputElement>(null);

  useEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);

  function end(isSaved: boolean, isByKey: boolean) {
    const wanted = title.trim();
    if (isSaved && wanted !== "" && wanted !== was) void threadStore.rename(thread, wanted);
    onDone(isByKey);
  }

  return (
    <form
      className={styles.rename}
      onSubmit={(event: FormEvent) => {
        event.preventDefault();
        end(true, true);
      }}
    >
      <input
        ref={field}
        className="input"
        aria-label={t.newTitle(thread.title || t.untitled)}
        maxLength={LONGEST_TITLE}
        value={title}
        onChange={(event) => setTitle(event.target.value)}
        onBlur={() => end(true, false)}
        onKeyDown={(event) => {
          event.stopPropagation();
          // Escape and Enter belong to the input method while it composes.
          if (event.key === "Escape" && !event.nativeEvent.isComposing) end(false, true);
        }}
      />
    </form>
  );
}
