import { unrolled } from './kernel.ts';

// Codes of packed linears as they are stored: the four bytes of a row in a line, or in a strip of base 3, are one word.

export type GridCodes = { kind: 'planes'; planes: number } | { kind: 'base-3' };

/** Which strips of a block of base 3 a thread takes: from `first` on every `step`-th. */
export interface Walk {
  first: string;
  step: string;
}

const wholeBlock: Walk = { first: '0u', step: '1u' };

/** Digit by digit, four codes of base 3 at once: 16-bit lanes hold v ≤ 242, of which ⌊171 v / 512⌋ is the third. */
export const base3Helpers = `
fn third(pair: u32) -> u32 { return ((pair * 171u) >> 9u) & 0x007f007fu; }
fn byte_at(position: u32) -> u32 { return (weights[position / 4u] >> (8u * (position % 4u))) & 255u; }
fn digit_of(value: u32, digit: u32) -> u32 {
  var rest = value;
  for (var i = 0u; i < digit; i += 1u) { rest /= 3u; }
  return rest % 3u;
}`;

/** Needs `block`, `group` and `row`. Code that hands `take(word of the block)` the codes of four adjacent columns in `code` (lower seven bits) and, of eight planes, the eighth bits in `high`. */
export function eachCode(codes: GridCodes, take: string, walk: Walk = wholeBlock): string {
  if (codes.kind === 'base-3')
    return `
    let left_of_block = min(128u, p.columns - 128u * block);
    let block_byte = group * 16u * p.row_bytes + 416u * block;
    for (var strip = ${walk.first}; 20u * strip < left_of_block; strip += ${walk.step}) {
      let left = left_of_block - 20u * strip;
      let strip_byte = block_byte + 64u * strip;
      if (left > 15u) {
        let word_of_row = weights[strip_byte / 4u + row];
        var low = word_of_row & 0x00ff00ffu;
        var upper = (word_of_row >> 8u) & 0x00ff00ffu;
        for (var digit = 0u; 4u * digit < min(left, 20u); digit += 1u) {
          let low_rest = third(low);
          let upper_rest = third(upper);
          let code = (low - 3u * low_rest) | ((upper - 3u * upper_rest) << 8u);
          low = low_rest;
          upper = upper_rest;
          let word = 5u * strip + digit;
          ${take}
        }
      } else {
        let per_row = (left + 4u) / 5u;
        for (var first_column = 0u; first_column < left; first_column += 4u) {
          var code = 0u;
          for (var j = 0u; j < 4u; j += 1u) {
            let column = first_column + j;
            if (column < left) {
              let value = byte_at(strip_byte + per_row * row + column % per_row);
              code |= digit_of(value, column / per_row) << (8u * j);
            }
          }
          let word = 5u * strip + first_column / 4u;
          ${take}
        }
      }
    }`;
  const { planes } = codes;
  const low = Math.min(planes, 7);
  return `
    for (var line = 4u * block; line < min(4u * block + 4u, p.lines); line += 1u) {
      let first_word = ((group * p.lines + line) * ${planes}u) * 16u + row;
      ${unrolled(planes, (plane) => `let plane${plane} = weights[first_word + ${16 * plane}u];`)}
      for (var bit = 0u; bit < 8u; bit += 1u) {
        let code = ${Array.from({ length: low }, (_, plane) => `(((plane${plane} >> bit) & 0x01010101u) << ${plane}u)`).join(' | ')};
        ${planes > 7 ? 'let high = (plane7 >> bit) & 0x01010101u;' : ''}
        let word = 8u * (line - 4u * block) + bit;
        ${take}
      }
    }`;
}
