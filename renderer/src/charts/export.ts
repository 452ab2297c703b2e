import type { ChartSpecification } from './chart.ts';
import { toCsv } from './csv.ts';
import { chartColours } from './theme.ts';

const padding = 16;
const titleHeight = 24;
const legendHeight = 22;

/** The plot on the surface's colour, with its title and legend, in device pixels. */
export async function chartAsPng(
  plot: HTMLCanvasElement,
  title: string,
  chart: ChartSpecification,
): Promise<Blob> {
  const colours = chartColours();
  const scale = globalThis.devicePixelRatio || 1;
  const canvas = document.createElement('canvas');
  const above = titleHeight + (chart.legend.length > 0 ? legendHeight : 0) + padding;
  canvas.width = plot.width + 2 * padding * scale;
  canvas.height = plot.height + (above + padding) * scale;
  const context = canvas.getContext('2d');
  if (!context) throw new Error('this browser gives no canvas');
  context.fillStyle = colours.surface;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(plot, padding * scale, above * scale);
  context.scale(scale, scale);
  context.textBaseline = 'middle';
  context.fillStyle = colours.text;
  context.font = '600 14px system-ui, sans-serif';
  context.fillText(title, padding, padding + 6);
  context.font = '12px system-ui, sans-serif';
  let x = padding;
  const y = padding + titleHeight + 4;
  for (const { label, colour } of chart.legend) {
    context.fillStyle = colour(colours);
    context.fillRect(x, y - 4, 10, 8);
    context.fillStyle = colours.axis;
    context.fillText(label, x + 15, y);
    x += 15 + context.measureText(label).width + 18;
  }
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('the picture could not be made'))));
  });
}

export function chartAsCsv(chart: ChartSpecification): Blob {
  return new Blob([toCsv(chart.table)], { type: 'text/csv' });
}

export function save(blob: Blob, fileName: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement('a');
  link.href = url;
  link.download = fileName;
  link.click();
  // The download has taken hold of it by the next turn.
  setTimeout(() => URL.revokeObjectURL(url));
}

export async function copyPicture(blob: Blob): Promise<void> {
  await navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
}

export async function copyText(text: string): Promise<void> {
  await navigator.clipboard.writeText(text);
}
