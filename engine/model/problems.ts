import path from 'node:path';
import { DBellError, type ErrorCode } from '../contract/errors.ts';
import type { ModelProblem } from './source.ts';

/** Problems beyond this number are counted, not kept: a broken header can have one for each of a million tensors. */
const MAX_KEPT_PROBLEMS = 100;

/**
 * Collects what is wrong with a model, so that one inspection shows everything. Codes that begin with `unsupported` mean a
 * well-formed model that this version cannot run; `not-found` a missing file; every other error means damage.
 */
export class ProblemList {
  readonly items: ModelProblem[] = [];
  errorCount = 0;
  #omitted = 0;

  /** `instead`: a path that is likely meant. */
  error(code: string, message: string, instead?: string): void {
    this.errorCount++;
    this.#add({ severity: 'error', code, message, ...(instead === undefined ? {} : { instead }) });
  }

  warning(code: string, message: string): void {
    this.#add({ severity: 'warning', code, message });
  }

  /** Takes over the problems of a part. */
  addAll(other: ProblemList): void {
    for (const problem of other.items)
      if (problem.severity === 'error') this.error(problem.code, problem.message, problem.instead);
      else this.warning(problem.code, problem.message);
    this.errorCount += other.errorCount - other.items.filter((p) => p.severity === 'error').length;
    this.#omitted += other.#omitted;
  }

  /** Problems that were counted but not kept. */
  get omitted(): number {
    return this.#omitted;
  }

  get hasErrors(): boolean {
    return this.errorCount > 0;
  }

  /** Throws the first error as a DBellError that names the model and how many more there are. */
  throwIfErrors(modelPath: string): void {
    const first = this.items.find((problem) => problem.severity === 'error');
    if (first === undefined) return;
    const more = this.errorCount - 1;
    const tail =
      more === 0 ? '' : ` (and ${more} more ${more === 1 ? 'problem' : 'problems'}; inspect lists all)`;
    // A problem of a file that is the model itself begins with its name already.
    const name = path.basename(modelPath);
    const message = first.message.startsWith(`${name}: `)
      ? first.message.slice(name.length + 2)
      : first.message;
    throw new DBellError(errorCodeOf(first), `${modelPath}: ${message}${tail}`);
  }

  #add(problem: ModelProblem): void {
    // Errors are always worth more than warnings, so the first error is kept whatever came before it.
    if (this.items.length < MAX_KEPT_PROBLEMS || (problem.severity === 'error' && this.errorCount === 1))
      this.items.push(problem);
    else this.#omitted++;
  }
}

export function errorCodeOf(problem: ModelProblem): ErrorCode {
  if (problem.code.startsWith('unsupported')) return 'unsupported-model';
  if (problem.code === 'not-found') return 'not-found';
  return 'invalid-model';
}

/** A name from a file, made safe and short enough for a message. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 120 ? `${text.slice(0, 120)}…` : text);
}

/** A value from a file as it would stand in JSON, shortened. */
export function show(value: unknown): string {
  if (value === undefined) return 'absent';
  const text =
    JSON.stringify(value, (_, item: unknown) =>
      typeof item === 'bigint' || (typeof item === 'number' && !Number.isFinite(item)) ? String(item) : item,
    ) ?? typeof value;
  return text.length > 120 ? `${text.slice(0, 120)}…` : text;
}

/** A number with its noun: `1 byte`, `2,048 bytes`. */
export function plural(value: number | bigint, noun: string): string {
  return `${count(value)} ${noun}${Number(value) === 1 ? '' : 's'}`;
}

/** Integers with thousands separators: `4,294,967,296`. */
export function count(value: number | bigint): string {
  return value.toLocaleString('en-US');
}
