import { useCallback, useSyncExternalStore } from "react";

/** Whether the media query holds, followed. */
export function useMediaQuery(query: string): boolean {
  const subscribe = useCallback(
    (changed: () => void) => {
      const list = window.matchMedia(query);
      list.addEventListener("change", changed);
      return () => list.removeEventListener("change", changed);
    },
    [query],
  );
  return useSyncExternalStore(subscribe, () => window.matchMedia(query).matches);
}

/** Narrower than this the list of conversations is a drawer. */
export function useIsPhone(): boolean {
  return useMediaQuery("(max-width: 799px)");
}
