import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { minimumSize } from './window-options.ts';

const boundsSchema = z.object({
  x: z.int(),
  y: z.int(),
  width: z.int().min(minimumSize.width).max(100_000),
  height: z.int().min(minimumSize.height).max(100_000),
});
export type Bounds = z.infer<typeof boundsSchema>;

const stateSchema = z.object({ bounds: boundsSchema, maximized: z.boolean() });
export type WindowState = z.infer<typeof stateSchema>;

/** Of the title bar at least this must be on a screen, so that the window can be taken hold of. */
const visibleStrip = { width: 100, height: 40 };

/** Where the window stood; null where nothing usable was kept. */
export async function readWindowState(file: string): Promise<WindowState | null> {
  try {
    return stateSchema.parse(JSON.parse(await readFile(file, 'utf8')));
  } catch {
    return null;
  }
}

/** Best effort: a window's place is worth no message. */
export async function writeWindowState(file: string, state: WindowState): Promise<void> {
  try {
    await mkdir(path.dirname(file), { recursive: true });
    const temporary = `${file}.tmp`;
    await writeFile(temporary, JSON.stringify(state));
    await rename(temporary, file);
  } catch {
    // The next start opens at the default place.
  }
}

/** The state, if the window would be within reach on one of the screens that are there now. */
export function reachable(
  state: WindowState | null,
  screens: readonly Omit<Bounds, never>[],
): WindowState | null {
  if (state === null) return null;
  const { x, y, width } = state.bounds;
  const isReachable = screens.some(
    (screen) =>
      x + width - visibleStrip.width >= screen.x &&
      x + visibleStrip.width <= screen.x + screen.width &&
      y >= screen.y &&
      y + visibleStrip.height <= screen.y + screen.height,
  );
  return isReachable ? state : null;
}
