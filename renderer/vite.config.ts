import path from 'node:path';
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const here = import.meta.dirname;

export default defineConfig({
  root: here,
  // Addresses relative to the page, so that it is the same under http:// and app://.
  base: './',
  publicDir: path.join(here, 'public'),
  plugins: [svelte({ configFile: path.join(here, 'svelte.config.js') })],
  build: {
    outDir: path.join(here, 'dist'),
    emptyOutDir: true,
    target: 'es2022',
    // The policy allows no data: fonts or scripts; small images may be data.
    assetsInlineLimit: (file) => (file.endsWith('.svg') || file.endsWith('.png') ? undefined : false),
    modulePreload: { polyfill: false },
    sourcemap: false,
  },
  server: { host: '127.0.0.1', strictPort: false },
});
