/** `npm run samples`: runs every command that docs/command-line.md shows on the bundled sample and writes its output there. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { runSamples, sampleBlocks, samplesFile, withSamples } from './samples.ts';

const folder = mkdtempSync(path.join(os.tmpdir(), 'dbell-samples-'));
try {
  const markdown = readFileSync(samplesFile, 'utf8');
  const blocks = await runSamples(sampleBlocks(markdown), folder, false);
  writeFileSync(samplesFile, withSamples(markdown, blocks));
} finally {
  rmSync(folder, { recursive: true });
}
