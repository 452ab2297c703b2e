import { parseArgs } from 'node:util';
import { appFolder, buildDesktop } from './build.ts';

/** `npm run build:desktop`: the program that electron-builder packs, by default for this computer's system. */
const { values } = parseArgs({
  options: {
    platform: { type: 'string', default: process.platform },
    arch: { type: 'string', default: process.arch },
    'without-modules': { type: 'boolean', default: false },
  },
});
await buildDesktop({ platform: values.platform, architecture: values.arch }, !values['without-modules']);
console.log(`The desktop program is in ${appFolder}`);
