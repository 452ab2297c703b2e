import { count, type ProblemList, show } from './problems.ts';

/**
 * Reads fields of config.json and records every one that is missing or out of range. Where a problem was recorded the returned value is a
 * placeholder: `failed` must be tested before anything is derived from it.
 */
export class ConfigReader {
  readonly config: Readonly<Record<string, unknown>>;
  readonly fileName: string;
  readonly problems: ProblemList;
  failed = false;
  readonly #sourceNames: Readonly<Record<string, string>>;
  readonly #unsound = new Set<string>();

  /** `sourceNames` says how a field is called where config.json was made from something else, for messages. */
  constructor(
    config: Readonly<Record<string, unknown>>,
    problems: ProblemList,
    fileName = 'config.json',
    sourceNames: Readonly<Record<string, string>> = {},
  ) {
    this.#sourceNames = sourceNames;
    this.config = config;
    this.problems = problems;
    this.fileName = fileName;
  }

  /** The value as it stands, undefined where the field is absent or null. */
  raw(key: string): unknown {
    if (!Object.hasOwn(this.config, key)) return undefined;
    return this.config[key] ?? undefined;
  }

  /** Whether the field stands there at all, null included. */
  mentions(key: string): boolean {
    return Object.hasOwn(this.config, key);
  }

  has(key: string): boolean {
    return this.raw(key) !== undefined;
  }

  error(code: string, message: string): void {
    this.failed = true;
    this.problems.error(code, `${this.fileName}: ${message}`);
  }

  warning(code: string, message: string): void {
    this.problems.warning(code, `${this.fileName}: ${message}`);
  }

  /** True when none of the fields had a problem, so that checks across them mean something. */
  sound(...keys: string[]): boolean {
    return keys.every((key) => !this.#unsound.has(key));
  }

  #fieldError(key: string, code: string, message: string): void {
    this.#unsound.add(key);
    this.error(code, `${this.#sourceNames[key] ?? key} ${message}`);
  }

  /** A whole number in [min, max]; without a fallback (or with undefined) the field is required. */
  integer(key: string, range: { min?: number; max: number; fallback?: number | undefined }): number {
    const value = this.raw(key);
    const min = range.min ?? 1;
    if (value === undefined) {
      if (range.fallback !== undefined) return range.fallback;
      this.#fieldError(key, 'config-missing', 'is missing');
      return min;
    }
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > range.max) {
      this.#fieldError(
        key,
        'config-range',
        `is ${show(value)}; it must be a whole number from ${count(min)} to ${count(range.max)}`,
      );
      return min;
    }
    return value as number;
  }

  /** A finite number above 0. */
  positive(key: string, fallback?: number): number {
    const value = this.raw(key);
    if (value === undefined) {
      if (fallback !== undefined) return fallback;
      this.#fieldError(key, 'config-missing', 'is missing');
      return 1;
    }
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0) {
      this.#fieldError(key, 'config-range', `is ${show(value)}; it must be a number above 0`);
      return 1;
    }
    return value;
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value !== 'boolean') {
      this.#fieldError(key, 'config-range', `is ${show(value)}; it must be true or false`);
      return fallback;
    }
    return value;
  }

  string(key: string, fallback: string): string {
    const value = this.raw(key);
    if (value === undefined) return fallback;
    if (typeof value !== 'string') {
      this.#fieldError(key, 'config-range', `is ${show(value)}; it must be a string`);
      return fallback;
    }
    return value;
  }

  /** A token id, a list of them, or nothing: as an ascending list. Ids outside the vocabulary are left out, with a warning. */
  tokenIds(key: string, vocabularySize: number): number[] {
    const value = this.raw(key);
    if (value === undefined) return [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    const wrong = ids.find((id) => !Number.isSafeInteger(id) || (id as number) < 0);
    if (wrong !== undefined || ids.includes(null)) {
      this.#fieldError(
        key,
        'config-range',
        `is ${show(value)}; it must be a token id or a list of token ids`,
      );
      return [];
    }
    const outside = (ids as number[]).find((id) => id >= vocabularySize);
    if (outside !== undefined) {
      this.warning(
        'config-range',
        `${key} ${outside} lies outside the vocabulary of ${count(vocabularySize)}; ignored`,
      );
    }
    return [...new Set(ids as number[])].filter((id) => id < vocabularySize).sort((a, b) => a - b);
  }
}
