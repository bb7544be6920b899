/** Searches the conversations as one types, and says how many were found. */

import { useEffect, useState } from "react";

import { useTexts } from "../i18n";
import { IconButton, icons, Spinner } from "../theme";
import { threadStore, useThreads } from "./store";
import styles from "./threads.module.css";

const PAUSE = 250;

export function SearchField() {
  const t = useTexts().threads;
  const { query, isLoading, isLoaded, threads, cursor } = useThreads();
  const [typed, setTyped] = useState(query);
  const isSearching = query !== "" && isLoading && !isLoaded;

  useEffect(() => {
    const timer = setTimeout(() => void threadStore.search(typed.trim()), typed === "" ? 0 : PAUSE);
    return () => clearTimeout(timer);
  }, [typed]);

  return (
    <search className={styles.search}>
      <span className={styles.searchMark}>{isSearching ? <Spinner /> : <icons.Search />}</span>
      <input
        type="search"
        className="input"
        aria-label={t.search}
        placeholder={t.search}
        maxLength={200}
        value={typed}
        onChange={(event) => setTyped(event.target.value)}
        onKeyDown={(event) => {
          if (event.key !== "Escape" || typed === "" || event.nativeEvent.isComposing) return;
          event.stopPropagation();
          setTyped("");
        }}
      />
      {typed !== "" && (
        <IconButton
          icon={<icons.Close />}
          label={t.clearSearch}
          className={styles.clear}
          onClick={() => setTyped("")}
        />
      )}
      <p className="visually-hidden" role="status">
        {query !== "" && isLoaded && (cursor === null ? t.found(threads.length) : t.foundOrMore(threads.length))}
      </p>
    </search>
  );
}
