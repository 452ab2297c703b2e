/** Hosts whose pages the studio links to. Nothing else is ever opened in the browser. */
export const allowedHosts: readonly string[] = ['arxiv.org', 'github.com', 'huggingface.co'];

/** The address as it may be opened in the system's browser; null where it may not. */
export function openableAddress(address: string): string | null {
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return null;
  }
  if (url.protocol !== 'https:' || url.username !== '' || url.password !== '' || url.port !== '') return null;
  return allowedHosts.includes(url.hostname) ? url.href : null;
}
