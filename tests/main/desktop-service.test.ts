import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { beforeAll, expect, test, vi } from 'vitest';
import { bundled } from '../assets.ts';
import { type Desktop, openEngine, startFakeDesktop } from './desktop-support.ts';

/** The way of a page's call in the desktop: preload, main, the service's process, a work process, and back. */

let desktop: Desktop;
beforeAll(async () => {
  desktop = await startFakeDesktop();
});

test('a call of the page is answered by a work process', async () => {
  const { client, port } = await openEngine(desktop);
  const found = await client.call('inspect', { model: bundled.model });
  expect(found).toMatchObject({ usable: true, family: expect.any(String) });
  const entries = desktop.fake.processes.map(({ entry }) => path.basename(entry));
  expect(entries).toEqual(['desktop-process.ts', 'work-process.ts']);
  await expect(client.call('inspect', { model: '/nothing/there' })).rejects.toMatchObject({
    code: 'not-found',
  });
  await expect(client.call('jobs.get', { jobId: 'none' })).rejects.toMatchObject({ code: 'not-found' });
  port.close();
});

test('two windows hear the same events', async () => {
  const first = await openEngine(desktop);
  const second = await openEngine(desktop);
  const heard = new Promise((resolve) => second.client.onEvent(resolve));
  await first.client.call('settings.set', { theme: 'dark' });
  expect(await heard).toMatchObject({ type: 'settings-changed', settings: { theme: 'dark' } });
  first.port.close();
  second.port.close();
});

test('the Hugging Face token goes from the key store to the service', async () => {
  const { client, port } = await openEngine(desktop);
  expect((await client.call('hub.status', {})).token).toBe('none');
  await desktop.api.setHubToken('hf_secret');
  await expect.poll(async () => (await client.call('hub.status', {})).token).toBe('given');
  await desktop.api.clearHubToken();
  await expect.poll(async () => (await client.call('hub.status', {})).token).toBe('none');
  port.close();
});

test('while a job works the computer stays awake and the taskbar shows it', async () => {
  const { client, port } = await openEngine(desktop);
  const { jobId } = await client.call('verify', { package: '/nothing/there' });
  await client.call('jobs.wait', { jobId });
  const { windows, blockers, notifications } = desktop.fake;
  await vi.waitFor(() => expect(windows[0]!.progress.at(-1)).toEqual({ value: -1, mode: 'normal' }));
  expect(windows[0]!.progress.some(({ value }) => value !== -1)).toBe(true);
  expect(blockers.size).toBe(0);
  // The window has no focus in this test, so that a person hears of the end.
  await vi.waitFor(() => expect(notifications).toHaveLength(1));
  expect(notifications[0]).toMatchObject({ title: 'Checking the package failed' });
  port.close();
});

test('a service that dies is started again, and the page is told that its port is dead', async () => {
  const { client, port } = await openEngine(desktop);
  const closed = new Promise<void>((resolve) => port.onClose(resolve));
  await desktop.api.setHubToken('hf_secret');
  const service = desktop.fake.processes.findLast(({ entry }) => entry.endsWith('desktop-process.ts'))!;
  service.kill();
  await closed;
  await expect(client.call('jobs.list', {})).rejects.toMatchObject({ code: 'connection-lost' });
  await vi.waitFor(() => expect(desktop.fake.windows[0]!.webContents.sent).toContainEqual(['engine:lost']));
  const again = await openEngine(desktop);
  await expect(again.client.call('jobs.list', {})).resolves.toEqual({ jobs: [] });
  await expect.poll(async () => (await again.client.call('hub.status', {})).token).toBe('given');
  again.port.close();
});

test('a second start shows the window that is there and goes', async () => {
  desktop.fake.windows[0]!.focused = false;
  desktop.fake.app.emit('second-instance');
  expect(desktop.fake.windows[0]!.focused).toBe(true);
  const second = await startFakeDesktop((fake) => {
    fake.app.hasLock = false;
  });
  expect(second.fake.app.quits).toBe(1);
  expect(second.fake.windows).toEqual([]);
  expect(second.fake.processes).toEqual([]);
});

test('work is shown and kept awake, a pause is not, and quitting in the middle of it asks first', async () => {
  const { processes, windows, blockers, app, dialogs, dialogAnswers } = desktop.fake;
  const service = processes.findLast(({ entry }) => entry.endsWith('desktop-process.ts'))!;
  const tell = (activity: object) => service.emit('message', { type: 'activity', activity });
  const shown = () => windows[0]!.progress.at(-1);
  tell({ openJobs: 1, working: true, fraction: null });
  expect(shown()).toEqual({ value: 2, mode: 'normal' });
  tell({ openJobs: 1, working: true, fraction: 0.5 });
  expect(shown()).toEqual({ value: 0.5, mode: 'normal' });
  expect(blockers.size).toBe(1);
  tell({ openJobs: 1, working: false, fraction: 0.5 });
  expect(shown()).toEqual({ value: 0.5, mode: 'paused' });
  expect(blockers.size).toBe(0);
  const quits = app.quits;
  dialogAnswers.push({ response: 1 });
  app.quit();
  // A second wish while the first is being asked about.
  app.quit();
  await vi.waitFor(() => expect(dialogs.filter(({ kind }) => kind === 'message')).toHaveLength(1));
  expect(dialogs.at(-1)?.options).toMatchObject({ defaultId: 1, cancelId: 1 });
  await vi.waitFor(() => expect(dialogAnswers).toEqual([]));
  expect(app.quits).toBe(quits);
  tell({ openJobs: 0, working: false, fraction: null });
  expect(shown()).toEqual({ value: -1, mode: 'normal' });
});

test('closing keeps the window’s place; quitting ends the service first', async () => {
  desktop.fake.windows[0]!.close();
  const file = path.join(desktop.folder, 'user-data', 'window-state.json');
  await vi.waitFor(() => expect(existsSync(file)).toBe(true));
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual({
    bounds: { x: 10, y: 20, width: 1000, height: 700 },
    maximized: false,
  });
  desktop.fake.app.quit();
  expect(desktop.fake.app.quits).toBe(0);
  await vi.waitFor(() => expect(desktop.fake.app.quits).toBe(1), { timeout: 20_000 });
});
