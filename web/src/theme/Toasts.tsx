/** Where the messages of `toasts.ts` appear; rendered once, by the page's frame. */

import { useEffect, useState } from "react";
import { useStore } from "zustand";

import { useTexts } from "../i18n";
import { Button, IconButton } from "./controls";
import { icons } from "./icons";
import { dismiss, type Toast, toastStore } from "./toasts";

export function Toasts() {
  const t = useTexts();
  const toasts = useStore(toastStore, (state) => state.toasts);
  return (
    <section className="toasts" aria-label={t.common.notifications} aria-live="polite">
      {toasts.map((each) => (
        <ToastLine key={each.id} toast={each} />
      ))}
    </section>
  );
}

function ToastLine({ toast }: { toast: Toast }) {
  const t = useTexts();
  const { action, until } = toast;
  return (
    <div className={`toast toast-${toast.kind}`} {...(toast.kind === "error" ? { role: "alert" } : {})}>
      {toast.kind === "error" && (
        <span className="toast-mark">
          <icons.Warning />
        </span>
      )}
      <span className="toast-text">{toast.text}</span>
      {until !== null && <Countdown until={until} />}
      {action && (
        <Button
          kind="quiet"
          onClick={() => {
            dismiss(toast.id);
            action.run();
          }}
        >
          {action.label}
        </Button>
      )}
      <IconButton icon={<icons.Close />} label={t.common.dismiss} onClick={() => dismiss(toast.id)} />
    </div>
  );
}

/** The seconds left, for the eye alone: read out, it would interrupt every second. */
function Countdown({ until }: { until: number }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return (
    <span className="toast-left" aria-hidden="true">
      {Math.max(0, Math.ceil((until - now) / 1000))}
    </span>
  );
}
