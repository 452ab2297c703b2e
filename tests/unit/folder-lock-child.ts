import { existsSync } from 'node:fs';
import { lockFolder } from '../../engine/files/folder-lock.ts';

/** Takes the locks of the folders given, all it can get, once the first argument's file is there; says which, and holds them until it is ended. */
const [signal, ...folders] = process.argv.slice(2);
process.stdout.write('ready\n');
while (!existsSync(signal!)) await new Promise((resolve) => setTimeout(resolve, 1));
const taken: string[] = [];
for (const folder of folders) {
  try {
    await lockFolder(folder);
    taken.push(folder);
  } catch {
    // Another has it.
  }
}
process.stdout.write(`${JSON.stringify(taken)}\n`);
setInterval(() => {}, 1000);
