import { z } from 'zod';
import { pathSchema } from '../../engine/contract/common.ts';
import { limits } from '../../engine/contract/limits.ts';

/**
 * Every message between the page's preload and the main process: a request with one payload, checked where it arrives. Work is not among them; it goes
 * over the port that `engine:open` brings.
 */
const title = z.string().max(limits.nameLength);
const extensions = z.array(z.string().regex(/^[a-z0-9]{1,16}$/)).max(16);
/** The clipboard's and a token's text. */
const text = z.string().max(limits.noteLength);

export const channels = {
  /** A port to the service, which arrives by `engine:port` with the same id. */
  'engine:open': z.strictObject({ id: z.int().nonnegative() }),
  'dialog:choose-folder': z.strictObject({ title }),
  'dialog:choose-file': z.strictObject({ title, extensions }),
  'dialog:choose-new-folder': z.strictObject({ title, suggestedPath: pathSchema }),
  'dialog:choose-new-file': z.strictObject({ title, suggestedPath: pathSchema }),
  'shell:show': z.strictObject({ path: pathSchema }),
  'shell:open-external': z.strictObject({ address: z.string().max(2048) }),
  'clipboard:write-text': z.strictObject({ text: z.string().max(limits.promptLength) }),
  'clipboard:write-png': z.strictObject({
    bytes: z.instanceof(Uint8Array<ArrayBufferLike>).refine((b) => b.length <= 64 * 2 ** 20),
  }),
  'token:has': z.strictObject({}),
  /** Kept encrypted by the system's key store; it is never read back into a page. */
  'token:set': z.strictObject({ token: text.min(1) }),
  'token:clear': z.strictObject({}),
} as const;

export type Channels = typeof channels;
export type ChannelName = keyof Channels;
export type ChannelInput<N extends ChannelName> = z.output<Channels[N]>;

/** Commands of the menu, by the names that the page's own commands have; `command-palette` shows these. */
export const menuCommands = [
  'new-run',
  'runs',
  'playground',
  'benchmark',
  'settings',
  'pause-job',
  'continue-job',
  'stop-job',
  'undo-delete',
  'command-palette',
] as const;
export type MenuCommand = (typeof menuCommands)[number];
