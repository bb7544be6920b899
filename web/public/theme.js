// Before the first paint: the theme and the language that were chosen in src/settings/preferences.ts.
// A blocking file and not a line in the page: the content security policy allows no inline script.
(() => {
  let chosen = {};
  try {
    chosen = JSON.parse(localStorage.getItem("llmkeep.preferences")) || {};
  } catch {
    // Nothing that can be read: the system decides.
  }
  const root = document.documentElement;
  if (chosen.theme === "light" || chosen.theme === "dark") root.dataset.theme = chosen.theme;
  const first = navigator.languages.map((each) => each.toLowerCase().split("-")[0]);
  const language = chosen.language || first.find((each) => each === "en" || each === "zh");
  root.lang = language === "zh" ? "zh-CN" : "en";
})();
