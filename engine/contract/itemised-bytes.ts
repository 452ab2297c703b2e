/** What itemised bytes, such as those of `itemisedBytesSchema`, come to. */
export function sumOfBytes(items: Readonly<Record<string, number>>): number {
  return Object.values(items).reduce((sum, bytes) => sum + bytes, 0);
}
