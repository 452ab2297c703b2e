import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'vite';
import { buildPage, isPageStale } from '../../main/page-build.ts';
import { copyModules, ownDependencies, type Target } from './modules.ts';
import { transpileFolder } from './transpile.ts';

export const root = path.resolve(import.meta.dirname, '..', '..');
/** What electron-builder packs: the whole program as it runs, and nothing else. */
export const appFolder = path.join(root, 'build', 'desktop');

/** Of the engine, what the desktop never runs. */
const notOfTheDesktop = (file: string) =>
  /^engine\/(cli|quantize\/reference)\//.test(file.split(path.sep).join('/'));

/**
 * Puts the desktop program together in build/desktop: JavaScript of main and engine, the bundled preload, the built page, the addon, what comes with the
 * product, and the modules for one system. `modules` false leaves the modules out, for running from the clone, whose own are found.
 */
export async function buildDesktop(target: Target, modules: boolean): Promise<void> {
  const addon = path.join(root, 'build', 'native', 'dbell_native.node');
  if (!existsSync(addon)) throw new Error('the addon is not built; run: npm run build:native');
  if (isPageStale()) buildPage();
  rmSync(appFolder, { recursive: true, force: true });
  mkdirSync(appFolder, { recursive: true });
  transpileFolder(root, 'engine', appFolder, notOfTheDesktop);
  transpileFolder(root, 'main/desktop', appFolder, () => false);
  transpileFolder(root, 'main/preload', appFolder, (file) => !file.endsWith('channels.ts'));
  await buildPreload('preload');
  await buildPreload('compute-preload');
  await buildComputePage(path.join(appFolder, 'main', 'compute'));
  cpSync(path.join(root, 'renderer', 'dist'), path.join(appFolder, 'renderer', 'dist'), { recursive: true });
  cpSync(path.join(root, 'resources'), path.join(appFolder, 'resources'), { recursive: true });
  mkdirSync(path.join(appFolder, 'build', 'native'), { recursive: true });
  cpSync(addon, path.join(appFolder, 'build', 'native', 'dbell_native.node'));
  cpSync(path.join(root, 'LICENSE'), path.join(appFolder, 'LICENSE'));
  writeManifest();
  if (modules) copyModules(root, appFolder, target);
}

/** One CommonJS file, as a sandboxed window needs it; Electron's own module is the only one it may require. */
async function buildPreload(name: string): Promise<void> {
  await build({
    configFile: false,
    root,
    logLevel: 'warn',
    build: {
      outDir: path.join(appFolder, 'main', 'preload'),
      emptyOutDir: false,
      minify: false,
      target: 'es2022',
      lib: {
        entry: path.join(root, 'main', 'preload', `${name}.ts`),
        formats: ['cjs'],
        fileName: () => `${name}.cjs`,
      },
      rolldownOptions: { external: ['electron'] },
    },
  });
}

/** The page of the hidden windows that compute on a GPU: one script. `entry` is another one in tests. */
export async function buildComputePage(
  out: string,
  entry: string = path.join(root, 'engine', 'service', 'desktop', 'compute-page.ts'),
): Promise<void> {
  await build({
    configFile: false,
    root,
    logLevel: 'warn',
    build: {
      outDir: out,
      emptyOutDir: false,
      minify: false,
      target: 'es2024',
      lib: { entry, formats: ['es'], fileName: () => 'page.js' },
    },
  });
  writeFileSync(
    path.join(out, 'index.html'),
    '<!doctype html>\n<meta charset="utf-8">\n<title>DBell Studio: GPU</title>\n<link rel="icon" href="data:,">\n<script type="module" src="./page.js"></script>\n',
  );
}

function writeManifest(): void {
  const { name, version, description, license } = JSON.parse(
    readFileSync(path.join(root, 'package.json'), 'utf8'),
  );
  const manifest = {
    name,
    productName: 'DBell Studio',
    version,
    description,
    license,
    author: 'DBell Studio',
    private: true,
    type: 'module',
    main: 'main/desktop/entry.js',
    dependencies: ownDependencies(root),
  };
  writeFileSync(path.join(appFolder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);
}
