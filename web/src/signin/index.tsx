/** Signing in, and requests in the name of whoever is signed in. */

export {
  ApiProblem,
  authorizedFetch,
  explain,
  Offline,
  problemOf,
  request,
  requestJson,
} from "./http";
export { SessionGate } from "./SessionGate";
export { loadSession, onSignedIn, onSignedOut, session, signOut, useSession } from "./session";
