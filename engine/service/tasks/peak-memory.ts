import { readFileSync } from 'node:fs';

/** Highest resident memory of this process so far: VmHWM on Linux, the system's own count elsewhere. */
export function peakRssBytes(): number {
  if (process.platform === 'linux') {
    const kibibytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    if (kibibytes !== undefined) return Number(kibibytes) * 1024;
  }
  return process.resourceUsage().maxRSS * 1024;
}
