/** Makes the README's pictures of the studio from the end-to-end test of the whole wizard: `npm run pictures`. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
const { status } = spawnSync(process.execPath, [vitest, 'run', 'tests/end-to-end/wizard.test.ts'], {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, DBELL_PICTURES: path.join(root, 'docs', 'images') },
});
process.exitCode = status ?? 1;
