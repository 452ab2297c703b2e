import path from 'node:path';
import * as electron from 'electron';
import { loadStaticFiles } from '../../engine/service/web-server/static-files.ts';
import { startDesktop } from './desktop.ts';

/** Entry of the desktop's main process, as packaged: beside it lie the preload, the page and the entries of the other processes. */
const root = path.resolve(import.meta.dirname, '..', '..');

await startDesktop(electron, {
  preload: path.join(root, 'main', 'preload', 'preload.cjs'),
  computePreload: path.join(root, 'main', 'preload', 'compute-preload.cjs'),
  loadComputePage: () => loadStaticFiles(path.join(root, 'main', 'compute')),
  serviceEntry: path.join(root, 'engine', 'service', 'desktop', 'desktop-process.js'),
  workerEntry: path.join(root, 'engine', 'service', 'work-process.js'),
  loadPage: () => loadStaticFiles(path.join(root, 'renderer', 'dist')),
});
