/** Waiting that ends early for a good reason, and with the signal's AbortError where it is given up. */
import { onSignedIn } from "../../signin";

/** Wait so many milliseconds, less where the network comes back or somebody looks at the page again. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return until(signal, (done) => {
    const timer = setTimeout(done, milliseconds);
    const onVisible = () => {
      if (!document.hidden) done();
    };
    window.addEventListener("online", done);
    document.addEventListener("visibilitychange", onVisible);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("online", done);
      document.removeEventListener("visibilitychange", onVisible);
    };
  });
}

/** Wait until somebody has signed in. */
export function signedIn(signal: AbortSignal): Promise<void> {
  return until(signal, onSignedIn);
}

function until(signal: AbortSignal, begin: (done: () => void) => () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason);
      return;
    }
    const finish = (settle: () => void) => {
      end();
      signal.removeEventListener("abort", onAbort);
      settle();
    };
    const onAbort = () => finish(() => reject(signal.reason));
    const end = begin(() => finish(resolve));
    signal.addEventListener("abort", onAbort);
  });
}
