import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { DBellError } from '../../contract/errors.ts';
import { writeFileAtomically } from '../../files/atomic.ts';
import { fileError } from '../../files/errors.ts';
import { checkCreatable } from '../../files/writable.ts';
import { exportText, parseExport } from '../../history/export.ts';
import type { History } from '../../history/history.ts';
import { maximumImportBytes } from '../../history/limits.ts';
import type { HandlerContext, Handlers } from './handlers.ts';

/** Length of a UUID. */
const wholeIdLength = 36;

/** Runs that a message names where the first characters of an id fit several. */
const mostNamed = 8;

type HistoryCall = Extract<keyof Handlers, `history.${string}`>;

export function historyHandlers({ history, emit }: HandlerContext): Pick<Handlers, HistoryCall> {
  const changed = <T>(value: T): T => {
    emit({ type: 'history-changed' });
    return value;
  };
  const idOf = (runId: string) => resolveRunId(history.open(), runId);
  return {
    'history.list': (input) => history.open().list(input),
    'history.show': ({ runId }) => {
      const [opened, id] = [history.open(), idOf(runId)];
      return { run: opened.show(id), measurements: opened.measurementsOf(id), madeBy: opened.makerOf(id) };
    },
    'history.compare': ({ runIds }) => history.open().compare(runIds.map(idOf)),
    'history.delete': ({ runIds }) => changed({ deleted: history.open().delete(runIds.map(idOf)) }),
    'history.undo': () => changed({ restored: history.open().undoDelete() }),
    'history.annotate': ({ runId, ...changes }) =>
      changed({ run: history.open().annotate(idOf(runId), changes) }),
    'history.export': ({ path: file, format, runIds }) => {
      if (existsSync(file)) {
        throw new DBellError(
          'output-exists',
          `${file} exists already; choose another name or delete it first`,
        );
      }
      checkCreatable(file);
      const runs = history.open().export(runIds?.map(idOf));
      const text = exportText(runs, format);
      writeFileAtomically(file, text);
      return { path: file, runs: runs.length, bytes: Buffer.byteLength(text) };
    },
    'history.import': ({ path: file }) => changed(history.open().import(readExport(file))),
  };
}

/** A run's id from its first characters, as tables show them. Whole ids pass unchanged, known or not. */
function resolveRunId(history: History, given: string): string {
  if (given.length >= wholeIdLength) return given;
  const found = history.idsBeginning(given, mostNamed + 1);
  if (found.length > 1) {
    const named = found.slice(0, mostNamed).join(', ');
    throw new DBellError(
      'invalid-input',
      `${given} may be any of ${named}${found.length > mostNamed ? ' and others' : ''}; give more of it`,
    );
  }
  return found[0] ?? given;
}

function readExport(file: string) {
  let bytes: Uint8Array;
  try {
    const entry = statSync(file);
    if (!entry.isFile()) throw new DBellError('invalid-input', `${file} is not a regular file`);
    const { size } = entry;
    if (size > maximumImportBytes) {
      throw new DBellError(
        'invalid-input',
        `${file} has ${size} bytes; an exported history has at most ${maximumImportBytes}`,
      );
    }
    bytes = readFileSync(file);
  } catch (cause) {
    throw fileError(cause, 'read', file);
  }
  return parseExport(bytes, path.basename(file));
}
