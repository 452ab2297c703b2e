import { setLocale } from '../format/numbers.ts';
import { english } from './en/index.ts';

/** Everything the studio says. Another language is one more catalogue of this shape. */
export type Strings = typeof english;

const catalogues: Record<string, Strings> = { en: english };

function choose(): [language: string, strings: Strings] {
  for (const tag of globalThis.navigator?.languages ?? []) {
    const language = tag.split('-')[0] ?? '';
    const found = catalogues[language];
    if (found) return [language, found];
  }
  return ['en', english];
}

const [language, chosen] = choose();
setLocale(language);

export const strings: Strings = chosen;
export const languageTag = language;
