import { createServer } from 'vite';
import { webSocketPath } from '../engine/contract/greeting.ts';
import { defaultHome } from '../engine/service/home.ts';
import { superviseWebService } from '../engine/service/web-server/supervise.ts';
import { buildPage, isPageStale, pageFolder } from '../main/page-build.ts';

/**
 * The page in development: Vite's server with hot replacement, whose WebSocket to the engine is passed on to a real service. Vite's page needs inline
 * styles, so that the content security policy holds in the built page alone.
 */
if (isPageStale()) buildPage();
const studio = await superviseWebService({
  home: defaultHome(),
  pageFolder,
  onRestart: (reason) => console.log(`The engine ended (${reason}) and is started again.`),
});
const vite = await createServer({
  configFile: new URL('../renderer/vite.config.ts', import.meta.url).pathname,
  server: {
    proxy: {
      [webSocketPath]: { target: studio.origin, ws: true, changeOrigin: true, rewriteWsOrigin: true },
    },
  },
});
await vite.listen();
const { hash } = new URL(await studio.createAddress());
const local = vite.resolvedUrls?.local[0] ?? '';
console.log(`In development:  ${local}${hash}`);
console.log(`As built:        ${await studio.createAddress()}`);
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, async () => {
    await vite.close();
    await studio.close();
    process.exit(0);
  });
}
