type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/**
 * JSON whose bytes depend on the value alone: keys sorted by code unit, two spaces of indentation, one newline at the end. Throws TypeError on
 * what JSON cannot hold (NaN, Infinity, functions, …), so that nothing is lost silently; undefined members are left out.
 */
export function canonicalJson(value: unknown): string {
  return `${JSON.stringify(sorted(value, '$'), null, 2)}\n`;
}

function sorted(value: unknown, at: string): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${at}: ${value} cannot be written as JSON`);
    return value;
  }
  if (Array.isArray(value)) return value.map((item, index) => sorted(item, `${at}[${index}]`));
  if (typeof value === 'object') {
    // A null prototype keeps a key named __proto__ an ordinary key.
    const result: { [key: string]: Json } = Object.create(null);
    for (const key of Object.keys(value).sort()) {
      const member = (value as Record<string, unknown>)[key];
      if (member !== undefined) result[key] = sorted(member, `${at}.${key}`);
    }
    return result;
  }
  throw new TypeError(`${at}: a ${typeof value} cannot be written as JSON`);
}
