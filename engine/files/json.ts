/**
 * JSON whose bytes depend on the value alone: keys sorted by code unit, two spaces of indentation, one newline at the end. Throws TypeError on
 * what JSON cannot hold (NaN, Infinity, functions, …), so that nothing is lost silently; undefined members are left out.
 */
export function canonicalJson(value: unknown): string {
  return `${write(value, '$', '')}\n`;
}

function write(value: unknown, at: string, indent: string): string {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return JSON.stringify(value);
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new TypeError(`${at}: ${value} cannot be written as JSON`);
    return JSON.stringify(value);
  }
  const inner = `${indent}  `;
  if (Array.isArray(value)) {
    const items = value.map((item, index) => write(item, `${at}[${index}]`, inner));
    // Shapes and the like are easier to read on one line.
    if (value.every((item) => typeof item === 'number')) return `[${items.join(', ')}]`;
    return `[\n${inner}${items.join(`,\n${inner}`)}\n${indent}]`;
  }
  if (typeof value !== 'object') throw new TypeError(`${at}: a ${typeof value} cannot be written as JSON`);
  const members = Object.keys(value)
    .sort()
    .map((key) => [key, (value as Record<string, unknown>)[key]] as const)
    .filter(([, member]) => member !== undefined)
    .map(([key, member]) => `${JSON.stringify(key)}: ${write(member, `${at}.${key}`, inner)}`);
  return members.length === 0 ? '{}' : `{\n${inner}${members.join(`,\n${inner}`)}\n${indent}}`;
}
