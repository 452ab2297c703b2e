import { selfTextName } from '../../../engine/contract/common.ts';
import { strings } from '../strings/index.ts';

/** A text as a person knows it: the engine calls those that come with the product `bundled:NAME`. */
export function textTitle(textName: string): string {
  if (textName === selfTextName) return strings.textSource.self;
  const name = /^bundled:(.*)$/.exec(textName)?.[1];
  return (name && strings.textSource.names[name]) ?? textName;
}

/** A message of the engine as a sentence that stands by itself. What begins with a name or a path is left as it is. */
export function sentence(message: string): string {
  return /^[a-z]+(?=[ ,;:])/.test(message) ? message.charAt(0).toUpperCase() + message.slice(1) : message;
}
