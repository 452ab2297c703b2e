import { parseAs, toErrorPayload } from '../../contract/error-payload.ts';
import { childProcessHost } from '../process-host.ts';
import { takeUpUnfinished, watchUnfinished } from '../recovery.ts';
import { createService, type Service } from '../service.ts';
import { createSessions, type Sessions } from './sessions.ts';
import { loadStaticFiles } from './static-files.ts';
import { type FromWebProcess, type ToWebProcess, toWebProcessSchema } from './web-process-protocol.ts';
import { startWebServer, type WebServer } from './web-server.ts';

/** Entry of browser mode's service process; `supervise` starts and restarts it. */
if (!process.send) {
  process.stderr.write('This file is started by DBell Studio and does nothing by itself.\n');
  process.exit(2);
}

// Ctrl-C reaches the whole process group; the supervisor decides what becomes of the service.
process.on('SIGINT', () => {});
process.on('SIGHUP', () => {});

let service: Service | null = null;
let server: WebServer | null = null;
let sessions: Sessions | null = null;

const send = (message: FromWebProcess) => process.send?.(message);

async function start(settings: Extract<ToWebProcess, { type: 'start' }>): Promise<void> {
  const files = await loadStaticFiles(settings.pageFolder);
  const { home, studioId } = settings;
  const started = createService({ home, studioId, processHost: childProcessHost });
  service = started;
  watchUnfinished(started, (jobs) => send({ type: 'unfinished', jobs }));
  sessions = createSessions(Buffer.from(settings.sessionKey, 'base64'));
  server = await startWebServer({
    service: started,
    sessions,
    files,
    host: settings.host,
    port: settings.port,
  });
  send({ type: 'listening', origin: server.origin, port: Number(new URL(server.origin).port) });
  takeUpUnfinished(started, settings.resume);
}

async function close(): Promise<void> {
  await server?.close();
  await service?.close();
  process.exit(0);
}

// Without its supervisor nobody could end this process any more.
process.on('disconnect', () => {
  service?.terminate();
  process.exit(1);
});

process.on('message', (raw) => {
  void handle(parseAs(toWebProcessSchema, raw, 'message of the supervisor', 'internal')).catch((error) => {
    send({ type: 'failed', error: toErrorPayload(error) });
  });
});

async function handle(message: ToWebProcess): Promise<void> {
  if (message.type === 'start') await start(message);
  else if (message.type === 'close') await close();
  else if (sessions) send({ type: 'token', token: sessions.createToken() });
}
