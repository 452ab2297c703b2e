/** Plain values with typed arrays in them as one binary message: what a message port does by itself, over a WebSocket. A head of JSON, then the arrays' bytes. */
const kinds = { Float32Array, Int32Array, Int8Array, Uint8Array } as const;
type Kind = keyof typeof kinds;
const mark = '$typedArray';

export function encode(message: unknown): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const json = JSON.stringify(message, (_key, value: unknown) => {
    if (!ArrayBuffer.isView(value)) return value;
    const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
    const at = length;
    parts.push(bytes);
    length += bytes.length;
    // Node's Buffer is a Uint8Array by another name.
    const kind = value.constructor.name in kinds ? value.constructor.name : 'Uint8Array';
    return { [mark]: kind, at, length: bytes.length };
  });
  const head = new TextEncoder().encode(json);
  const whole = new Uint8Array(4 + head.length + length);
  new DataView(whole.buffer).setUint32(0, head.length, true);
  whole.set(head, 4);
  let at = 4 + head.length;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function decode(buffer: ArrayBuffer): unknown {
  const headLength = new DataView(buffer).getUint32(0, true);
  const head = new TextDecoder().decode(new Uint8Array(buffer, 4, headLength));
  return JSON.parse(head, (_key, value: Record<string, unknown> | null) => {
    const kind = value?.[mark] as Kind | undefined;
    if (kind === undefined) return value;
    const { at, length } = value as { at: number; length: number };
    const begin = 4 + headLength + at;
    return new kinds[kind](buffer.slice(begin, begin + length));
  });
}
