import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { refusedCloseCode, webSocketPath } from '../../engine/contract/greeting.ts';
import { limits } from '../../engine/contract/limits.ts';
import { serveConnection } from '../../engine/service/connection.ts';
import { serviceLimits } from '../../engine/service/limits.ts';
import { contentSecurityPolicy } from '../../engine/service/web-server/security-headers.ts';
import { webLimits } from '../../engine/service/web-server/web-limits.ts';
import { openClient, startWebFixture, type WebFixture } from './web-support.ts';

let fixture: WebFixture;
beforeAll(async () => {
  fixture = await startWebFixture();
});
afterAll(() => fixture.close());

/** A request whose path and headers are sent exactly as given, unlike with fetch. */
function get(path: string, headers: Record<string, string> = {}, method = 'GET') {
  const { hostname, port } = new URL(fixture.server.origin);
  return new Promise<{ status: number; headers: Record<string, unknown>; body: string }>(
    (resolve, reject) => {
      const sent = request({ hostname, port, path, method, headers }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body }),
        );
      });
      sent.on('error', reject);
      sent.end();
    },
  );
}

test('it listens on 127.0.0.1 alone, on a port that was free', () => {
  expect(fixture.server.origin).toMatch(/^http:\/\/127\.0\.0\.1:\d{2,5}$/);
});

test('the page comes with its policy and without a CORS header', async () => {
  const { status, headers, body } = await get('/');
  expect(status).toBe(200);
  expect(body).toContain('<title>page</title>');
  expect(headers['content-security-policy']).toBe(contentSecurityPolicy);
  expect(headers['x-content-type-options']).toBe('nosniff');
  expect(headers['referrer-policy']).toBe('no-referrer');
  expect(headers['cross-origin-resource-policy']).toBe('same-origin');
  expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([]);
});

test('the policy allows the page itself and nothing else', () => {
  expect(contentSecurityPolicy).not.toMatch(/unsafe|\*|https?:|blob:|ws:/);
  expect(contentSecurityPolicy.split('; ').slice(0, 6)).toEqual([
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "font-src 'self'",
    "connect-src 'self'",
  ]);
});

test('built files may be kept for ever, the page itself may not', async () => {
  expect((await get('/assets/index-1.js')).headers['cache-control']).toContain('immutable');
  expect((await get('/')).headers['cache-control']).toBe('no-cache');
});

test.each([
  '/../secret.html',
  '/assets/../../secret.html',
  '/%2e%2e/secret.html',
  '/..%2fsecret.html',
  '//secret.html',
  '/assets/index-1.js.map',
  '/assets',
  '/engine',
  '/nothing',
])('%s is not found', async (path) => {
  const { status, body } = await get(path);
  expect(status).toBe(404);
  expect(body).not.toContain('secret');
});

test.each(['POST', 'PUT', 'OPTIONS', 'DELETE'])('%s is refused', async (method) => {
  expect((await get('/', {}, method)).status).toBe(405);
});

test.each(['evil.example', 'localhost', '127.0.0.1', '127.0.0.1:1'])(
  'a request for the host %s is refused, so that a rebound name shows nothing',
  async (host) => {
    expect((await get('/', { host })).status).toBe(421);
    await expect(
      openClient(fixture.server, { token: fixture.sessions.createToken() }, { host }),
    ).rejects.toEqual({ status: 421 });
  },
);

test.each(['http://evil.example', 'null', 'http://127.0.0.1:1', 'http://localhost', ''])(
  'a socket from a page of %j is refused',
  async (origin) => {
    const token = fixture.sessions.createToken();
    await expect(openClient(fixture.server, { token }, { origin })).rejects.toEqual({ status: 403 });
    // The token was not used up by it.
    const { socket } = await openClient(fixture.server, { token });
    socket.terminate();
  },
);

test('a socket at another path is refused', async () => {
  await expect(
    openClient(fixture.server, { token: fixture.sessions.createToken() }, { path: '/other' }),
  ).rejects.toEqual({ status: 404 });
});

test('a token opens once; the session it got opens again', async () => {
  const token = fixture.sessions.createToken();
  const first = await openClient(fixture.server, { token });
  await expect(first.client.call('jobs.list', {})).resolves.toEqual({ jobs: [] });
  first.socket.terminate();
  await expect(openClient(fixture.server, { token })).rejects.toEqual({ closeCode: refusedCloseCode });
  const second = await openClient(fixture.server, { session: first.session });
  await expect(second.client.call('jobs.list', {})).resolves.toEqual({ jobs: [] });
  second.socket.terminate();
});

test.each<[string, string]>([
  ['a wrong token', '{"token":"wrong"}'],
  ['an unsigned session', '{"session":"abc"}'],
  ['a session with a wrong signature', '{"session":"abc.def"}'],
  ['both at once', '{"token":"a","session":"b"}'],
  ['a call before the greeting', '{"id":1,"call":"jobs.list","input":{}}'],
  ['no JSON', 'hello'],
  ['nothing', ''],
])('%s is refused', async (_, greeting) => {
  await expect(openClient(fixture.server, greeting)).rejects.toEqual({ closeCode: refusedCloseCode });
});

test('after a flood of wrong tokens none is looked at for a while, but sessions still are', async () => {
  const { createSessions } = await import('../../engine/service/web-server/sessions.ts');
  let now = 0;
  const sessions = createSessions(Buffer.alloc(32, 1), () => now);
  const session = sessions.admit({ token: sessions.createToken() })!;
  const token = sessions.createToken();
  for (let attempt = 0; attempt < webLimits.wrongGreetings; attempt++) {
    expect(sessions.admit({ token: `wrong ${attempt}` })).toBeNull();
  }
  expect(sessions.admit({ token })).toBeNull();
  expect(sessions.admit({ session })).toBe(session);
  now += webLimits.wrongGreetingsWindowMs + 1;
  expect(sessions.admit({ token })).not.toBeNull();
});

test('wrong greetings are not remembered without end', async () => {
  const { createSessions } = await import('../../engine/service/web-server/sessions.ts');
  const sessions = createSessions(Buffer.alloc(32, 1), () => 0);
  for (let attempt = 0; attempt < 3 * webLimits.wrongGreetings; attempt++)
    expect(sessions.admit({ session: `wrong.${attempt}` })).toBeNull();
  expect(sessions.wrongGreetings).toBe(webLimits.wrongGreetings);
});

test.each([
  ['one long message', 1],
  ['a message that never ends', 40],
])('who has not greeted may not send %s', async (_, pieces) => {
  const socket = new WebSocket(`${fixture.server.origin.replace('http', 'ws')}${webSocketPath}`, {
    origin: fixture.server.origin,
  });
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('open', resolve));
  const closed = new Promise((resolve) => socket.once('close', resolve));
  const piece = `{"token":"${'x'.repeat(Math.ceil((2 * webLimits.greetingBytes) / pieces))}`;
  // A message in fragments of which the last never comes: only their bytes tell.
  for (let sent = 0; sent < pieces; sent++) socket.send(piece, { fin: pieces === 1 });
  expect(await closed).toBe(1006);
});

test('a greeting of any allowed length and the longest message after it are taken', async () => {
  const opened = await openClient(fixture.server, { token: fixture.sessions.createToken() });
  const { socket } = opened;
  const answered = new Promise((resolve) =>
    socket.once('message', (data) => resolve(JSON.parse(String(data)))),
  );
  socket.send(JSON.stringify({ id: 1, call: 'none', input: 'x'.repeat(webLimits.messageBytes / 2) }));
  expect(await answered).toMatchObject({ response: { id: 1, error: { code: 'invalid-input' } } });
  socket.terminate();
});

test('a session of another key is not one of ours', async () => {
  const { createSessions } = await import('../../engine/service/web-server/sessions.ts');
  const ours = createSessions(Buffer.alloc(32, 1));
  const others = createSessions(Buffer.alloc(32, 2));
  const again = createSessions(Buffer.alloc(32, 1));
  const session = ours.admit({ token: ours.createToken() })!;
  expect(others.admit({ session })).toBeNull();
  expect(again.admit({ session })).toBe(session);
});

test.each<[string, string | Buffer, number]>([
  ['text that is no JSON', 'nonsense', 1003],
  ['bytes', Buffer.from([1, 2]), 1003],
  ['more than a message may have', 'x'.repeat(webLimits.messageBytes + 1), 1009],
])('%s ends the connection', async (_, sent, closeCode) => {
  const { socket } = await openClient(fixture.server, { token: fixture.sessions.createToken() });
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.send(sent);
  expect(await closed).toBe(closeCode);
});

test('the longest prompt that the contract allows fits into a message', () => {
  const escaped = JSON.stringify('\n'.repeat(limits.promptLength));
  expect(escaped.length).toBeLessThan(webLimits.messageBytes);
});

test('a client that asks without end loses its connection', () => {
  let receive: (message: unknown) => void = () => {};
  let closed = false;
  const sent: unknown[] = [];
  serveConnection(
    { ...fixture.service, handle: () => new Promise(() => {}) },
    {
      send: (message) => sent.push(message),
      onMessage: (listener) => {
        receive = listener;
      },
      onClose: () => {},
      close: () => {
        closed = true;
      },
    },
  );
  for (let id = 0; id < serviceLimits.requestsInFlight; id++) receive({ id });
  expect(closed).toBe(false);
  receive({ id: 'one more' });
  expect(closed).toBe(true);
  expect(sent).toEqual([]);
});

test('wrong requests are answered, each with its reason', async () => {
  const { client, socket } = await openClient(fixture.server, { token: fixture.sessions.createToken() });
  await expect(client.call('made-up' as 'jobs.list', {})).rejects.toMatchObject({ code: 'invalid-input' });
  await expect(client.call('jobs.get', { jobId: 'nothing' })).rejects.toMatchObject({ code: 'not-found' });
  socket.terminate();
});

test('calls that are open when the connection ends fail as lost', async () => {
  const { client, socket } = await openClient(fixture.server, { token: fixture.sessions.createToken() });
  const open = client.call('environment', {});
  socket.terminate();
  await expect(open).rejects.toMatchObject({ code: 'connection-lost' });
  await expect(client.call('jobs.list', {})).rejects.toMatchObject({ code: 'connection-lost' });
});
