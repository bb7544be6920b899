/** Retires every instance, after asking whether that is meant. */

import { useState } from "react";

import { useTexts } from "../i18n";
import { explain, requestJson } from "../signin/http";
import { Button, Dialog, icons, Spinner, toast } from "../theme";

/** `instances`: how many there are to retire. */
export function ClearButton({ instances }: { instances: number }) {
  const t = useTexts();
  const [isAsking, setAsking] = useState(false);
  const [isBusy, setBusy] = useState(false);

  async function clear() {
    if (isBusy) return;
    setBusy(true);
    try {
      const { cleared } = await requestJson<{ cleared: number }>("/api/cache/clear", { method: "POST" });
      toast({ text: t.keep.cleared(cleared) });
    } catch (error) {
      toast({ kind: "error", text: t.keep.clearFailed(explain(error)) });
    } finally {
      setBusy(false);
      setAsking(false);
    }
  }

  return (
    <>
      <Button aria-disabled={instances === 0} onClick={() => instances > 0 && setAsking(true)}>
        <icons.Trash />
        {t.keep.clear}
      </Button>
      {isAsking && (
        <Dialog title={t.keep.clearTitle} onClose={() => setAsking(false)}>
          <p>{t.keep.clearAbout(instances)}</p>
          <div className="dialog-actions">
            <Button onClick={() => setAsking(false)}>{t.common.cancel}</Button>
            <Button kind="danger" aria-disabled={isBusy} onClick={() => void clear()}>
              {isBusy && <Spinner />}
              {t.keep.clearConfirm}
            </Button>
          </div>
        </Dialog>
      )}
    </>
  );
}
