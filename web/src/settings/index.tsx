/** What a person chooses for the page, and where they do it. */

export { chosenModel, type Models, useModels } from "./models";
export {
  effectiveLanguage,
  type Preferences,
  preferences,
  setPreference,
  usePreferences,
} from "./preferences";
export { SettingsView } from "./SettingsView";
