import { z } from 'zod';

export const defaultHubEndpoint = 'https://huggingface.co';

const loopbackHost = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

/** Whether an address leads to this machine itself; as `URL` writes host names. */
export function isLoopback(address: { hostname: string }): boolean {
  return loopbackHost.test(address.hostname);
}

/** Why an address cannot be a server that models come from; null where it can. Everything but this machine itself must be spoken to in encrypted form. */
export function endpointProblem(text: string): string | null {
  const address = URL.parse(text);
  if (address === null) return 'must be an address of the form https://HOST';
  if (address.protocol !== 'https:' && !(address.protocol === 'http:' && isLoopback(address)))
    return 'must begin with https:// (http:// only for this machine itself)';
  if (address.username !== '' || address.password !== '') return 'must not hold a user name or password';
  if (address.search !== '' || address.hash !== '') return 'must end with its host or a path';
  return null;
}

export const endpointSchema = z
  .string()
  .max(2048)
  .superRefine((text, context) => {
    const problem = endpointProblem(text);
    if (problem !== null) context.addIssue({ code: 'custom', message: problem });
  });
