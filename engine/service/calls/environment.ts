import os from 'node:os';
import packageJson from '../../../package.json' with { type: 'json' };
import { historyFile, packagesFolderOf } from '../home.ts';
import { samples } from '../samples.ts';
import { startTask } from '../supervisor.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

export function environmentHandlers({
  home,
  processHost,
  settings,
}: HandlerContext): Pick<Handlers, 'environment' | 'devices'> {
  return {
    environment: async () => ({
      version: packageJson.version,
      node: process.versions.node,
      platform: `${os.type()} ${os.release()}`,
      architecture: process.arch,
      cpu: { model: os.cpus()[0]?.model.trim() ?? 'unknown', cores: os.availableParallelism() },
      memoryBytes: os.totalmem(),
      native: await startTask(processHost, 'environment', {}).done,
      home,
      historyFile: historyFile(home),
      packagesFolder: packagesFolderOf(home, settings.get().packagesFolder),
      samples: samples(),
    }),
    devices: () => startTask(processHost, 'devices', {}).done,
  };
}
