/** Colours of charts, read from the tokens, since a canvas does not inherit them. */
export interface ChartColours {
  surface: string;
  text: string;
  axis: string;
  grid: string;
  accent: string;
  quiet: string;
  series: string[];
  good: string;
  middle: string;
  bad: string;
}

export function chartColours(element: Element = document.documentElement): ChartColours {
  const style = getComputedStyle(element);
  const read = (name: string) => style.getPropertyValue(name).trim();
  return {
    surface: read('--surface'),
    text: read('--text'),
    axis: read('--chart-axis'),
    grid: read('--chart-grid'),
    accent: read('--accent'),
    quiet: read('--chart-quiet'),
    series: [1, 2, 3, 4, 5].map((index) => read(`--chart-${index}`)),
    good: read('--scale-good'),
    middle: read('--scale-middle'),
    bad: read('--scale-bad'),
  };
}

/** Channels of `#rrggbb`. */
function channels(colour: string): [number, number, number] {
  const value = Number.parseInt(colour.slice(1), 16);
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255];
}

export function mix(from: string, to: string, share: number): string {
  const a = channels(from);
  const b = channels(to);
  const mixed = a.map((value, index) => Math.round(value + ((b[index] ?? value) - value) * share));
  return `rgb(${mixed.join(' ')})`;
}

/** From good over middle to bad. Relative errors span magnitudes, so the scale is logarithmic: 0.1% is good, 30% is bad. */
export function errorColour(relativeError: number, colours: ChartColours): string {
  const low = Math.log(0.001);
  const high = Math.log(0.3);
  const share = Math.min(1, Math.max(0, (Math.log(Math.max(relativeError, 1e-9)) - low) / (high - low)));
  return share < 0.5
    ? mix(colours.good, colours.middle, share * 2)
    : mix(colours.middle, colours.bad, share * 2 - 1);
}

export function withOpacity(colour: string, opacity: number): string {
  return `rgb(${channels(colour).join(' ')} / ${Math.round(opacity * 100)}%)`;
}
