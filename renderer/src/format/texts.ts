import { selfTextName } from '../../../engine/contract/common.ts';
import { strings } from '../strings/index.ts';

/** A text as a person knows it: the engine calls those that come with the product `bundled:NAME`. */
export function textTitle(textName: string): string {
  if (textName === selfTextName) return strings.textSource.self;
  const name = /^bundled:(.*)$/.exec(textName)?.[1];
  return (name && strings.textSource.names[name]) ?? textName;
}
