/** The models that the server offers, asked for when somebody wants to know. */

import { useCallback, useEffect, useState } from "react";

import type { Model } from "../api/types";
import { requestJson } from "../signin/http";
import { preferences, setPreference } from "./preferences";

export interface Models {
  /** Null until they are known. */
  readonly models: readonly Model[] | null;
  readonly error: unknown;
  /** The model that was chosen and is not offered any more; the choice is the server's again. */
  readonly gone: string | null;
  reload(): void;
}

export function useModels(): Models {
  const [models, setModels] = useState<readonly Model[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [gone, setGone] = useState<string | null>(null);
  const [asked, setAsked] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `asked` is there to ask again
  useEffect(() => {
    const leaving = new AbortController();
    setError(null);
    requestJson<{ models: Model[] }>("/api/models", { signal: leaving.signal }).then(
      (answer) => {
        setModels(answer.models);
        const { model } = preferences();
        if (model === null || answer.models.some((each) => each.id === model)) return;
        setPreference("model", null);
        setGone(model);
      },
      (failure) => {
        if (!leaving.signal.aborted) setError(failure);
      },
    );
    return () => leaving.abort();
  }, [asked]);

  return { models, error, gone, reload: useCallback(() => setAsked((count) => count + 1), []) };
}

/** The model that a message sent now goes to, or undefined where that is not known. */
export function chosenModel(models: readonly Model[] | null, wanted: string | null): Model | undefined {
  return models?.find((each) => each.id === wanted) ?? models?.find((each) => each.default);
}
