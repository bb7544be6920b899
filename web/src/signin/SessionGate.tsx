/**
 * The outermost of the page: nothing of it is shown before somebody is signed in. When a session
 * ends later, the form lies over a page that stays as it is, drafts and all.
 */

import { Fragment, type ReactNode, useEffect } from "react";

import { useTexts } from "../i18n";
import { applyPreferences, followOtherTabs } from "../settings/preferences";
import { Dialog, ErrorState, icons, Spinner } from "../theme";
import { SignInForm } from "./SignInForm";
import { loadSession, useSession, watchSession } from "./session";
import styles from "./signin.module.css";

const RETRY_AFTER = 3_000;

export function SessionGate({ children }: { children: ReactNode }) {
  const t = useTexts();
  const { phase, config, me } = useSession();

  useEffect(() => {
    applyPreferences();
    const stops = [followOtherTabs(), watchSession()];
    void loadSession();
    return () => {
      for (const stop of stops) stop();
    };
  }, []);

  useEffect(() => {
    if (phase !== "offline") return;
    const timer = setInterval(() => void loadSession(), RETRY_AFTER);
    return () => clearInterval(timer);
  }, [phase]);

  if (!me) return <Outside />;
  return (
    <>
      {/* Another user gets a page of their own: nothing that the one before had open. */}
      <Fragment key={me.user}>{children}</Fragment>
      {phase === "signed-out" && (
        <Dialog title={config?.sign_in === "proxy" ? t.signin.proxyTitle : t.signin.againTitle}>
          <p>{t.signin.again}</p>
          <SignInForm />
        </Dialog>
      )}
    </>
  );
}

/** What is shown while nobody is signed in. */
function Outside() {
  const { phase } = useSession();
  return (
    <main className={styles.page}>
      {phase === "signed-out" && <SignInCard />}
      {(phase === "loading" || phase === "ready") && <Connecting />}
      {(phase === "offline" || phase === "broken") && <Failed />}
    </main>
  );
}

function SignInCard() {
  const t = useTexts();
  const { config } = useSession();
  return (
    <div className={styles.card}>
      <h1>{config?.sign_in === "proxy" ? t.signin.proxyTitle : t.signin.title}</h1>
      <SignInForm />
    </div>
  );
}

function Connecting() {
  const t = useTexts();
  return (
    <div className={`state ${styles.late}`} role="status">
      <Spinner />
      <p>{t.signin.connecting}</p>
    </div>
  );
}

function Failed() {
  const t = useTexts();
  const { phase, problem } = useSession();
  const retry = () => void loadSession();
  if (phase === "broken") {
    return (
      <ErrorState title={t.signin.brokenTitle} retry={retry}>
        {problem?.detail || t.common.unexpected}
      </ErrorState>
    );
  }
  return (
    <ErrorState title={t.signin.offlineTitle} icon={<icons.Offline />} retry={retry}>
      {t.signin.offlineAbout}
    </ErrorState>
  );
}
