/** The keep: what the cache holds at this moment and how it fared over the last minutes. */

import { type ReactNode, useId, useMemo, useState } from "react";

import type { CacheStats } from "../api/types";
import { useFormats, useTexts } from "../i18n";
import { useSession } from "../signin/session";
import { Button, EmptyState, icons, LoadingState } from "../theme";
import { Chart } from "./Chart";
import { ClearButton } from "./ClearButton";
import type { Connection } from "./follow";
import { type Curves, levels, means, rates, type Sample } from "./history";
import { Instances } from "./Instances";
import styles from "./keep.module.css";
import { TIMED } from "./snapshot";
import { useCache } from "./useCache";

export function KeepView() {
  const { me } = useSession();
  return me?.administrator ? <LiveKeep /> : <NotForYou />;
}

function NotForYou() {
  const t = useTexts().keep;
  return (
    <EmptyState title={t.administratorsOnly} icon={<icons.Keep />}>
      {t.askAdministrator}
    </EmptyState>
  );
}

function LiveKeep() {
  const t = useTexts().keep;
  const [isPaused, setPaused] = useState(false);
  const { snapshot, history, connection } = useCache(isPaused);
  if (connection === "forbidden") return <NotForYou />;
  return (
    <div className={styles.view}>
      <header className={styles.header}>
        <div>
          <h1>{t.heading}</h1>
          <p className={styles.muted}>{t.about}</p>
        </div>
        <div className={styles.controls}>
          <Status connection={connection} isPaused={isPaused} />
          <Button onClick={() => setPaused(!isPaused)}>
            {isPaused ? <icons.Play /> : <icons.Pause />}
            {isPaused ? t.resume : t.pause}
          </Button>
          <ClearButton instances={snapshot ? snapshot.stats.leased + snapshot.stats.idle : 0} />
        </div>
      </header>
      {connection === "lost" && !isPaused && (
        <p className={styles.lost}>
          <icons.Offline />
          {t.disconnected}
        </p>
      )}
      {snapshot ? (
        <>
          <Summary stats={snapshot.stats} />
          <Section title={t.instances}>
            <Instances instances={snapshot.instances} />
          </Section>
          <Section title={t.charts}>
            <Charts history={history} />
          </Section>
        </>
      ) : (
        connection === "connecting" && <LoadingState />
      )}
    </div>
  );
}

function Status({ connection, isPaused }: { connection: Connection; isPaused: boolean }) {
  const t = useTexts().keep;
  const isLive = connection === "live" && !isPaused;
  return (
    <p className={styles.status} data-live={isLive} role="status">
      <span className={styles.dot} aria-hidden="true" />
      {isPaused ? t.paused : isLive ? t.live : t.connecting}
    </p>
  );
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  const id = useId();
  return (
    <section className={styles.section} aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {children}
    </section>
  );
}

function Summary({ stats }: { stats: CacheStats }) {
  const t = useTexts().keep;
  const formats = useFormats();
  const failed = stats.build_failures + stats.builds_abandoned;
  return (
    <dl className={styles.summary} aria-label={t.summary}>
      <Figure name={t.instancesNow} value={formats.number(stats.live)} note={t.leasedNow(stats.leased)} />
      <Figure name={t.acquired} value={formats.number(stats.acquired)} />
      <Figure name={t.hitRate} value={stats.acquired > 0 ? formats.percent(stats.hits / stats.acquired) : "–"} />
      <Figure
        name={t.builds}
        value={formats.number(stats.builds)}
        note={failed > 0 ? t.failed(failed) : t.noFailures}
      />
    </dl>
  );
}

function Figure({ name, value, note }: { name: string; value: string; note?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>
        <b>{value}</b> {note !== undefined && <span className={styles.muted}>{note}</span>}
      </dd>
    </div>
  );
}

const LEASES = ["hits", "built", "joined"] as const;
const BUILDS = ["builds_ok", "build_failures", "builds_abandoned"] as const;
const INSTANCES = ["live", "leased", "idle"] as const;

function Charts({ history }: { history: readonly Sample[] }) {
  const t = useTexts().keep;
  const latency = TIMED.filter((each) => history.at(-1)?.snapshot.latency?.[each] !== undefined);
  const latencyKey = latency.join();
  const curves = useMemo(
    () => ({
      leases: rates(history, LEASES),
      builds: rates(history, BUILDS),
      instances: levels(history, INSTANCES),
    }),
    [history],
  );
  // biome-ignore lint/correctness/useExhaustiveDependencies: the key stands for the names
  const latencyCurves: Curves = useMemo(() => means(history, latency), [history, latencyKey]);
  const labels = (names: readonly (keyof typeof t.series)[]) => names.map((name) => t.series[name]);
  return (
    <div className={styles.charts}>
      <Chart title={t.leaseChart} about={t.leaseChartAbout} labels={labels(LEASES)} curves={curves.leases} />
      <Chart title={t.buildChart} about={t.buildChartAbout} labels={labels(BUILDS)} curves={curves.builds} />
      <Chart
        title={t.instanceChart}
        about={t.instanceChartAbout}
        labels={labels(INSTANCES)}
        curves={curves.instances}
      />
      {latency.length > 0 && (
        <Chart
          isSparse
          title={t.latencyChart}
          about={t.latencyChartAbout}
          labels={labels(latency)}
          curves={latencyCurves}
        />
      )}
    </div>
  );
}
