// First, for the processes that are started from here.
import '../engine/service/compile-cache.js';
import { toErrorPayload } from '../engine/contract/error-payload.ts';
import { onLauncherGone } from '../engine/files/launcher.ts';
import { defaultHome } from '../engine/service/home.ts';
import { superviseWebService } from '../engine/service/web-server/supervise.ts';
import { openInBrowser } from './open-in-browser.ts';
import { buildPage, isPageStale, pageFolder } from './page-build.ts';
import { findElectron, hasDisplay, startElectron, whyNoWindow } from './start-electron.ts';
import { parseStartOptions, type StartOptions, startHelp } from './start-options.ts';

/** `npm start`: the studio in its own window where that can be, else in browser mode. */
async function main(): Promise<void> {
  const options = parseStartOptions(process.argv.slice(2));
  if (options.help) {
    process.stdout.write(startHelp);
    return;
  }
  if (isPageStale()) {
    say('Building the page …');
    buildPage();
  }
  const electron = findElectron();
  const reason = options.browser ? null : whyNoWindow(electron, hasDisplay());
  if (!options.browser && reason === null && electron !== null) {
    process.exitCode = await startElectron(electron);
    return;
  }
  if (reason !== null) say(`The studio opens in the browser: ${reason}.`);
  await startBrowserMode(options);
}

async function startBrowserMode({ host, port, open }: StartOptions): Promise<void> {
  if (host !== '127.0.0.1') {
    say(
      `WARNING: the studio listens on ${host}. Everybody who reaches that address and learns the token can read and write files as you; the connection is not encrypted.`,
    );
  }
  const studio = await superviseWebService({
    home: defaultHome(),
    pageFolder,
    host,
    port,
    onRestart: (reason) => say(`The engine ended unexpectedly (${reason}) and is started again.`),
    onGivenUp: (reason) => {
      say(`The engine keeps ending (${reason}); the studio is closed. Unfinished runs can be resumed.`);
      process.exit(1);
    },
  });
  say(`DBell Studio is at  ${await studio.createAddress()}`);
  // In a terminal with a display, the person need not copy the address.
  if (open && process.stdout.isTTY && hasDisplay()) openInBrowser(await studio.createAddress());
  say('The address works once, for one browser. Ctrl-C ends the studio.');
  if (process.stdin.isTTY) {
    say('Press Enter for the address of another browser.');
    process.stdin.on('data', async () => say(await studio.createAddress()));
  }
  const stop = async () => {
    say('Stopping …');
    await studio.close();
    process.exit(0);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, stop);
  onLauncherGone(stop);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

main().catch((error: unknown) => {
  const { code, message } = toErrorPayload(error);
  process.stderr.write(`${message}\n`);
  // As the command line does: wrong usage is 2.
  process.exitCode = code === 'invalid-input' ? 2 : 1;
});
