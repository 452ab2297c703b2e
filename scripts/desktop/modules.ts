import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

export interface Target {
  platform: string;
  architecture: string;
}

/** Of our dependencies, what the desktop does not run: the command line's parser and what only builds the addon. */
const notOfTheDesktop = ['commander', 'node-addon-api', 'node-api-headers'];

/** Dependencies of dependencies that only their install scripts use. */
const installOnly: Readonly<Record<string, readonly string[]>> = {
  'onnxruntime-node': ['adm-zip', 'global-agent'],
  'better-sqlite3': ['node-addon-api'],
};

/** Not needed at run time: sources, types, maps, documents, other systems' binaries. */
function isNeeded(relative: string, { platform, architecture }: Target): boolean {
  const file = relative.split(path.sep).join('/');
  if (/\.(map|d\.[cm]?ts|[cm]?ts|md|gyp|c|h|cpp|hpp)$/i.test(file)) return false;
  if (/^better-sqlite3\/(deps|src)(\/|$)/.test(file)) return false;
  if (/^zod\/src(\/|$)/.test(file)) return false;
  const prebuild = /^better-sqlite3\/prebuilds\/(.+)\.node$/.exec(file);
  if (prebuild) return prebuild[1] === `${platform}-${architecture}`;
  const binary = /^onnxruntime-node\/bin\/napi-v\d+\/([^/]+)(?:\/([^/]+))?/.exec(file);
  if (binary) return binary[1] === platform && (binary[2] === undefined || binary[2] === architecture);
  return !/^onnxruntime-node\/script(\/|$)/.test(file);
}

/** Names of the modules that the packaged program needs, in order. */
export function runtimeModules(root: string): string[] {
  const found = new Set<string>();
  const visit = (name: string) => {
    if (found.has(name)) return;
    found.add(name);
    const { dependencies = {} } = manifestOf(root, name);
    for (const dependency of Object.keys(dependencies)) {
      if (!installOnly[name]?.includes(dependency)) visit(dependency);
    }
  };
  for (const name of Object.keys(ownDependencies(root))) visit(name);
  return [...found].sort();
}

/** Our own dependencies that the desktop runs, with their versions. */
export function ownDependencies(root: string): Record<string, string> {
  const { dependencies = {} } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  return Object.fromEntries(
    Object.entries(dependencies as Record<string, string>).filter(
      ([name]) => !notOfTheDesktop.includes(name),
    ),
  );
}

function manifestOf(root: string, name: string): { dependencies?: Record<string, string> } {
  return JSON.parse(readFileSync(path.join(root, 'node_modules', name, 'package.json'), 'utf8'));
}

/** Copies the modules as they are installed, without what is not needed. */
export function copyModules(root: string, out: string, target: Target): void {
  const modules = path.join(root, 'node_modules');
  for (const name of runtimeModules(root)) {
    cpSync(path.join(modules, name), path.join(out, 'node_modules', name), {
      recursive: true,
      dereference: true,
      filter: (source) => isNeeded(path.relative(modules, source), target),
    });
    dropInstallOnly(path.join(out, 'node_modules', name, 'package.json'), name);
  }
}

/** So that nobody looks for what was left out. */
function dropInstallOnly(file: string, name: string): void {
  const manifest = JSON.parse(readFileSync(file, 'utf8'));
  for (const dependency of installOnly[name] ?? []) delete manifest.dependencies[dependency];
  if (installOnly[name]) writeFileSync(file, `${JSON.stringify(manifest, null, 2)}\n`);
}
