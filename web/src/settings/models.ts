/** The models that the server offers, asked for when somebody wants to know. */

import { useCallback, useEffect, useState } from "react";

import type { Model } from "../api/types";
import { requestJson } from "../signin/http";

export interface Models {
  /** Null until they are known. */
  readonly models: readonly Model[] | null;
  readonly error: unknown;
  reload(): void;
}

export function useModels(): Models {
  const [models, setModels] = useState<readonly Model[] | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [asked, setAsked] = useState(0);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `asked` is there to ask again
  useEffect(() => {
    const leaving = new AbortController();
    setError(null);
    requestJson<{ models: Model[] }>("/api/models", { signal: leaving.signal }).then(
      (answer) => setModels(answer.models),
      (failure) => {
        if (!leaving.signal.aborted) setError(failure);
      },
    );
    return () => leaving.abort();
  }, [asked]);

  return { models, error, reload: useCallback(() => setAsked((count) => count + 1), []) };
}

/** The model that a message sent now goes to, or undefined where that is not known. */
export function chosenModel(models: readonly Model[] | null, wanted: string | null): Model | undefined {
  return models?.find((each) => each.id === wanted) ?? models?.find((each) => each.default);
}
