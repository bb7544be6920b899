/** How the page is built: into the service's package, with nothing inline, so that a strict CSP holds. */
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

// In development the page comes from vite and the API from a service that runs beside it.
const service = "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react()],
  base: "/",
  build: {
    outDir: "../src/llmkeep/service/static",
    emptyOutDir: true,
    target: "es2023",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 1200,
  },
  server: { proxy: { "/api": service } },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}"],
    setupFiles: ["src/testing/setup.ts"],
    restoreMocks: true,
  },
});
