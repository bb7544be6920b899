/** The settings: model, language, appearance, and what the server says about whoever is signed in. */

import { type ReactNode, useEffect, useId } from "react";

import type { Me, Model } from "../api/types";
import { LANGUAGE_NAMES, useFormats, useTexts } from "../i18n";
import { explain } from "../signin/http";
import { loadSession, signOut, useSession } from "../signin/session";
import { Button, ErrorState, icons, LoadingState } from "../theme";
import { chosenModel, useModels } from "./models";
import { effectiveLanguage, LANGUAGES, setPreference, THEMES, usePreferences } from "./preferences";
import styles from "./settings.module.css";

export function SettingsView() {
  const t = useTexts();
  const { config } = useSession();
  return (
    <div className={styles.view}>
      <header>
        <h1>{t.settings.heading}</h1>
        <p className={styles.muted}>{t.settings.saved}</p>
      </header>
      <ModelChoice />
      <LanguageChoice />
      <ThemeChoice />
      <Account />
      {config && <p className={styles.muted}>{t.settings.version(config.version)}</p>}
    </div>
  );
}

interface ChoiceProps<Value extends string> {
  legend: string;
  about?: string;
  value: Value;
  options: readonly { readonly value: Value; readonly label: ReactNode; readonly lang?: string }[];
  isRow?: boolean;
  onChoose(value: Value): void;
}

function Choice<Value extends string>({ legend, about, value, options, isRow, onChoose }: ChoiceProps<Value>) {
  const name = useId();
  return (
    <fieldset className={styles.section}>
      <legend>{legend}</legend>
      {about !== undefined && <p className={styles.muted}>{about}</p>}
      <div className={isRow ? styles.row : styles.column}>
        {options.map((option) => (
          <label key={option.value} className={styles.option} lang={option.lang}>
            <input type="radio" name={name} checked={option.value === value} onChange={() => onChoose(option.value)} />
            <span>{option.label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}

/** As a radio button's value: no model of ours is called that. */
const SERVER = "";

function ModelChoice() {
  const t = useTexts();
  const { model: wanted } = usePreferences();
  const { models, error, gone, reload } = useModels();
  if (!models) {
    return error === null ? (
      <LoadingState />
    ) : (
      <ErrorState title={t.settings.modelsFailed} retry={reload}>
        {explain(error)}
      </ErrorState>
    );
  }
  const served = models.find((each) => each.default);
  const automatic = served ? t.settings.serverDefaultIs(served.name) : t.settings.serverDefault;
  return (
    <>
      <Choice
        legend={t.settings.model}
        about={models.length === 0 ? t.settings.noModels : t.settings.modelAbout}
        value={wanted ?? SERVER}
        options={[
          { value: SERVER, label: automatic },
          ...models.map((each) => ({ value: each.id, label: <ModelName model={each} /> })),
        ]}
        onChoose={(id) => setPreference("model", id === SERVER ? null : id)}
      />
      <div role="status" className={styles.notes}>
        {gone !== null && wanted === null && <p className={styles.note}>{t.settings.gone(gone)}</p>}
        {chosenModel(models, wanted)?.demonstration && <p className={styles.note}>{t.settings.demonstrationAbout}</p>}
      </div>
    </>
  );
}

function ModelName({ model }: { model: Model }) {
  const t = useTexts();
  return (
    <>
      {model.name} <span className={styles.muted}>{model.provider}</span>
      {model.demonstration && <span className={styles.badge}>{t.settings.demonstration}</span>}
    </>
  );
}

function LanguageChoice() {
  const t = useTexts();
  const chosen = usePreferences();
  return (
    <Choice
      isRow
      legend={t.settings.language}
      value={effectiveLanguage(chosen)}
      options={LANGUAGES.map((each) => ({ value: each, label: LANGUAGE_NAMES[each], lang: each }))}
      onChoose={(language) => setPreference("language", language)}
    />
  );
}

function ThemeChoice() {
  const t = useTexts();
  const { theme } = usePreferences();
  return (
    <Choice
      isRow
      legend={t.settings.theme}
      value={theme}
      options={THEMES.map((each) => ({ value: each, label: t.settings.themes[each] }))}
      onChoose={(each) => setPreference("theme", each)}
    />
  );
}

function Account() {
  const t = useTexts();
  const { config, me } = useSession();
  const headingId = useId();

  // The tokens used today have changed since the page was opened.
  useEffect(() => void loadSession(), []);

  if (!me || !config) return null;
  const canLeave = config.sign_in === "token" || config.sign_in === "jwt";
  return (
    <section className={styles.section} aria-labelledby={headingId}>
      <h2 id={headingId}>{t.settings.account}</h2>
      <dl className={styles.facts}>
        <dt>{t.settings.signedInAs}</dt>
        <dd>{config.sign_in === "none" ? t.settings.localUser : me.user}</dd>
        <dt>{t.settings.role}</dt>
        <dd>{me.administrator ? t.settings.administrator : t.settings.user}</dd>
        <LimitFacts me={me} />
      </dl>
      {canLeave && (
        <Button className={styles.leave} onClick={signOut}>
          <icons.SignOut />
          {t.settings.signOut}
        </Button>
      )}
    </section>
  );
}

function LimitFacts({ me: { limits, tokens_today: used } }: { me: Me }) {
  const t = useTexts();
  const formats = useFormats();
  const limit = (value: number | null | undefined) => (value == null ? t.settings.unlimited : formats.number(value));
  const perDay = limits.tokens_per_day;
  return (
    <>
      <dt>{t.settings.tokensToday}</dt>
      <dd>
        {perDay == null ? formats.number(used) : t.settings.tokensOf(formats.number(used), limit(perDay))}
        {perDay != null && perDay > 0 && (
          <meter
            className={styles.meter}
            aria-label={t.settings.tokensToday}
            max={perDay}
            high={perDay * 0.8}
            value={Math.min(used, perDay)}
          />
        )}
      </dd>
      <dt>{t.settings.requestsPerMinute}</dt>
      <dd>{limit(limits.requests_per_minute)}</dd>
      <dt>{t.settings.concurrentRuns}</dt>
      <dd>{limit(limits.concurrent_runs)}</dd>
      <dt>{t.settings.messageCharacters}</dt>
      <dd>{limit(limits.message_characters)}</dd>
    </>
  );
}
