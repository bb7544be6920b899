/** The list of conversations at the side of the page: new, search, open, rename, export, delete. */

import { type KeyboardEvent, type MouseEvent, useEffect, useId, useRef, useState } from "react";

import type { Thread } from "../api/types";
import { useTexts } from "../i18n";
import { explain } from "../signin/http";
import { Button, EmptyState, ErrorState, icons, LoadingState, moved, Spinner } from "../theme";
import { useFreshList, useNow } from "./freshness";
import { groupByPeriod } from "./list";
import { SearchField } from "./SearchField";
import { threadStore, useThreads } from "./store";
import { ThreadRow } from "./ThreadRow";
import styles from "./threads.module.css";

interface ThreadListProps {
  activeId: string | null;
  onOpen(threadId: string): void;
  onNew(): void;
  /** It is gone for whoever looks; it may yet come back by undoing. */
  onDeleted(threadId: string): void;
}

export function ThreadList({ activeId, onOpen, onNew, onDeleted }: ThreadListProps) {
  const t = useTexts().threads;
  const { isLoaded, error, threads } = useThreads();
  // What was found before stays until the answer is here, so that the list does not flicker.
  const hasRows = isLoaded || (threads.length > 0 && error === null);
  useFreshList();

  function startAnew(event: MouseEvent) {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    onNew();
  }

  return (
    <div className={styles.list}>
      <a href="/" className={`button ${styles.fresh}`} onClick={startAnew}>
        <icons.Plus />
        {t.fresh}
      </a>
      <SearchField />
      <div className={styles.scroll}>
        {hasRows && <Rows activeId={activeId} onOpen={onOpen} onDeleted={onDeleted} />}
        {!hasRows && error === null && <LoadingState />}
        {!hasRows && error !== null && (
          <ErrorState title={t.failedTitle} retry={() => void threadStore.load()}>
            {explain(error)}
          </ErrorState>
        )}
      </div>
    </div>
  );
}

function Rows({ activeId, onOpen, onDeleted }: Omit<ThreadListProps, "onNew">) {
  const t = useTexts().threads;
  const { threads, query, isLoading, error } = useThreads();
  const now = useNow();
  const keysId = useId();
  const list = useRef<HTMLDivElement>(null);
  const [visited, setVisited] = useState<string | null>(null);
  const tabStop = [visited, activeId, threads[0]?.thread_id].find((id) =>
    threads.some((each) => each.thread_id === id),
  );

  if (threads.length === 0) {
    return query === "" ? (
      <EmptyState title={t.noneTitle} icon={<icons.Chat />}>
        {t.none}
      </EmptyState>
    ) : (
      <EmptyState title={t.noMatchTitle} icon={<icons.Search />}>
        {t.noMatch(query)}
      </EmptyState>
    );
  }

  function links(): HTMLElement[] {
    return [...(list.current?.querySelectorAll<HTMLElement>("[data-thread]") ?? [])];
  }

  function onKeyDown(event: KeyboardEvent) {
    const isUndo = event.key === "z" && (event.ctrlKey || event.metaKey);
    if (isUndo && threadStore.undoLast()) return event.preventDefault();
    const all = links();
    const next = moved(event.key, all.indexOf(document.activeElement as HTMLElement), all.length);
    if (next === null) return;
    event.preventDefault();
    all[next]?.focus();
  }

  function remove(thread: Thread) {
    const all = links();
    const at = all.findIndex((each) => each.dataset.thread === thread.thread_id);
    (all[at + 1] ?? all[at - 1])?.focus();
    void threadStore.remove(thread).then((isGone) => {
      if (isGone) onDeleted(thread.thread_id);
    });
  }

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the keys are those of the links inside
    <div ref={list} aria-busy={isLoading} onKeyDown={onKeyDown}>
      {error !== null && <OutOfDate error={error} />}
      {groupByPeriod(threads, now).map((group) => (
        <section key={group.period} aria-label={t[group.period]}>
          <h3 className={styles.period}>{t[group.period]}</h3>
          <ul className={styles.rows} aria-describedby={keysId}>
            {group.threads.map((thread) => (
              <ThreadRow
                key={thread.thread_id}
                thread={thread}
                now={now}
                isActive={thread.thread_id === activeId}
                isTabStop={thread.thread_id === tabStop}
                onOpen={onOpen}
                onRemove={remove}
                onFocus={setVisited}
              />
            ))}
          </ul>
        </section>
      ))}
      <p id={keysId} className="visually-hidden">
        {t.keys}
      </p>
      <More />
    </div>
  );
}

function OutOfDate({ error }: { error: unknown }) {
  const t = useTexts();
  return (
    <div className={styles.stale} role="status">
      <p>{t.common.inOne(t.threads.refreshFailed, explain(error))}</p>
      <Button kind="quiet" onClick={() => void threadStore.load()}>
        {t.common.retry}
      </Button>
    </div>
  );
}

/** The next page, when one scrolls so far or asks for it. */
function More() {
  const t = useTexts();
  const { cursor, isLoadingMore, error } = useThreads();
  const mark = useRef<HTMLDivElement>(null);
  const isWaiting = cursor !== null && error === null;

  useEffect(() => {
    const element = mark.current;
    // After a failure it is for the person to try again.
    if (!element || !isWaiting || isLoadingMore) return;
    const observer = new IntersectionObserver(([entry]) => {
      if (entry?.isIntersecting) void threadStore.loadMore();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [isWaiting, isLoadingMore]);

  if (cursor === null) return null;
  return (
    <div ref={mark} className={styles.more}>
      <Button kind="quiet" aria-disabled={isLoadingMore} onClick={() => void threadStore.loadMore()}>
        {isLoadingMore && <Spinner />}
        {isLoadingMore ? t.common.loading : t.threads.more}
      </Button>
    </div>
  );
}
