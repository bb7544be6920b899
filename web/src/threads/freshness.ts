/** What keeps the list fresh: coming back to the tab, a minute's passing, an answer under way elsewhere. */

import { useEffect, useState } from "react";

import { onSignedIn } from "../signin/session";
import { threadStore, useThreads } from "./store";

const BUSY_POLL = 4_000;

/** Reload the list when the tab is looked at again, and while some conversation is being answered. */
export function useFreshList(): void {
  const isAnyBusy = useThreads().threads.some((each) => each.status === "busy");

  useEffect(() => {
    void threadStore.load();
    const onVisible = () => {
      if (document.visibilityState === "visible") void threadStore.load();
    };
    document.addEventListener("visibilitychange", onVisible);
    const forget = onSignedIn(() => void threadStore.load());
    return () => {
      document.removeEventListener("visibilitychange", onVisible);
      forget();
    };
  }, []);

  useEffect(() => {
    if (!isAnyBusy) return;
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void threadStore.load();
    }, BUSY_POLL);
    return () => clearInterval(timer);
  }, [isAnyBusy]);
}

/** The time, to the minute. */
export function useNow(): Date {
  const [now, setNow] = useState(() => new Date());
  useEffect(() => {
    const timer = setInterval(() => setNow(new Date()), 60_000);
    return () => clearInterval(timer);
  }, []);
  return now;
}
