/** Where a token is pasted, or, behind a proxy, why there is nothing to paste. */

import { type FormEvent, useId, useRef, useState } from "react";

import { useTexts } from "../i18n";
import { Button, icons, Spinner } from "../theme";
import { looksLikeToken } from "./credentials";
import { signIn, useSession } from "./session";
import styles from "./signin.module.css";

type Complaint = "empty" | "invalid" | "refused" | "offline";

export function SignInForm() {
  const { config } = useSession();
  return config?.sign_in === "proxy" ? <ProxyNotice /> : <TokenForm mode={config?.sign_in} />;
}

function TokenForm({ mode }: { mode: string | undefined }) {
  const t = useTexts();
  const ids = { field: useId(), about: useId(), complaint: useId(), remember: useId() };
  const field = useRef<HTMLInputElement>(null);
  const [token, setToken] = useState("");
  const [remember, setRemember] = useState(false);
  const [isShown, setShown] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [complaint, setComplaint] = useState<Complaint | null>(null);

  async function submit(event: FormEvent) {
    event.preventDefault();
    if (isBusy) return;
    // People copy what stands around a token too.
    const pasted = token.trim().replace(/^Bearer\s+/i, "");
    if (!looksLikeToken(pasted)) {
      complain(pasted === "" ? "empty" : "invalid");
      return;
    }
    setBusy(true);
    setComplaint(null);
    const result = await signIn(pasted, remember);
    setBusy(false);
    if (result !== "ok") complain(result);
  }

  function complain(about: Complaint) {
    setComplaint(about);
    field.current?.focus();
  }

  return (
    <form className={styles.form} onSubmit={submit} noValidate>
      <p id={ids.about}>{mode === "jwt" ? t.signin.jwtAbout : t.signin.tokenAbout}</p>
      <label htmlFor={ids.field}>{t.signin.token}</label>
      <div className={styles.field}>
        <input
          ref={field}
          id={ids.field}
          className="input"
          type={isShown ? "text" : "password"}
          name="token"
          autoComplete="current-password"
          autoCapitalize="off"
          spellCheck={false}
          // biome-ignore lint/a11y/noAutofocus: the form is all there is
          autoFocus
          value={token}
          aria-invalid={complaint !== null}
          aria-describedby={complaint ? `${ids.complaint} ${ids.about}` : ids.about}
          onChange={(event) => setToken(event.target.value)}
        />
        <Button kind="quiet" aria-pressed={isShown} onClick={() => setShown(!isShown)}>
          {isShown ? t.signin.hide : t.signin.show}
        </Button>
      </div>
      <p id={ids.complaint} className={styles.complaint} role="alert">
        {complaint && (complaint === "offline" ? t.common.offline : t.signin[complaint])}
      </p>
      <div className={styles.remember}>
        <input
          id={ids.remember}
          type="checkbox"
          checked={remember}
          onChange={(event) => setRemember(event.target.checked)}
        />
        <label htmlFor={ids.remember}>
          {t.signin.remember}
          <small>{t.signin.rememberAbout}</small>
        </label>
      </div>
      <Button kind="primary" type="submit" aria-disabled={isBusy}>
        {isBusy && <Spinner />}
        {isBusy ? t.signin.checking : t.signin.submit}
      </Button>
    </form>
  );
}

function ProxyNotice() {
  const t = useTexts();
  return (
    <div className={styles.form}>
      <p className={styles.proxy}>
        <icons.Key />
        <span>{t.signin.proxyAbout}</span>
      </p>
      <Button kind="primary" onClick={() => window.location.reload()}>
        {t.signin.reload}
      </Button>
    </div>
  );
}
