import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

/** Modules that are named in texts, not imported: entries of processes and workers. */
const moduleName = /(['"`])((?:\.{1,2}\/)*[a-z\d-]+(?:\/[a-z\d-]+)*)\.ts\1/g;

/** JavaScript of every TypeScript file below a folder, at the same place below `out`; other files are left out. Types go, nothing else changes. */
export function transpileFolder(
  root: string,
  folder: string,
  out: string,
  skip: (file: string) => boolean,
): void {
  for (const entry of readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
    const file = path.relative(root, path.join(entry.parentPath, entry.name));
    if (skip(file)) continue;
    const target = path.join(out, file.replace(/\.ts$/, '.js'));
    mkdirSync(path.dirname(target), { recursive: true });
    writeFileSync(target, transpile(readFileSync(path.join(root, file), 'utf8')));
  }
}

export function transpile(source: string): string {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      target: ts.ScriptTarget.ES2024,
      module: ts.ModuleKind.ESNext,
      verbatimModuleSyntax: true,
      removeComments: true,
    },
  });
  return outputText.replaceAll(moduleName, '$1$2.js$1');
}
