import { readFileSync } from 'node:fs';

export interface ProcessMemory {
  /** Highest resident size so far: VmHWM, or the system's own maximum where /proc is missing. */
  peakRssBytes: number;
  rssBytes: number;
  /** Resident pages of the process's own (heap, buffers); null where the system does not tell. */
  anonymousBytes: number | null;
  /** Resident pages of mapped files, such as weights; null where the system does not tell. */
  fileBytes: number | null;
}

/** Memory of this process. `statusFile` is replaced in tests only. */
export function processMemory(statusFile = '/proc/self/status'): ProcessMemory {
  const status = readStatus(statusFile);
  // process.resourceUsage counts in kilobytes on every system.
  return {
    peakRssBytes: status.get('VmHWM') ?? process.resourceUsage().maxRSS * 1024,
    rssBytes: status.get('VmRSS') ?? process.memoryUsage.rss(),
    anonymousBytes: status.get('RssAnon') ?? null,
    fileBytes: status.get('RssFile') ?? null,
  };
}

/** Fields of /proc/PID/status that are sizes, in bytes; empty where there is no such file. */
function readStatus(file: string): Map<string, number> {
  const sizes = new Map<string, number>();
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    return sizes;
  }
  for (const match of text.matchAll(/^(\w+):\s+(\d+) kB$/gm))
    sizes.set(match[1] as string, Number(match[2]) * 1024);
  return sizes;
}
