/** A second process on a history: node history-child.ts MODE FILE. Prints one JSON line when it stands where the test wants it. */
import SqliteDatabase from 'better-sqlite3';
import { DBellError } from '../../engine/contract/errors.ts';
import { openHistory } from '../../engine/history/history.ts';

const [mode, file] = process.argv.slice(2) as [string, string];
const say = (value: unknown) => console.log(JSON.stringify(value));
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const run = (runId: string) => ({
  ...{ runId, kind: 'quantize' as const, createdAt: '2026-01-01T00:00:00.000Z', modelPath: '/m/x' },
  ...{ modelFingerprint: null, packageFingerprint: null, recipe: 'rtn-4', activationBits: 8, settings: {} },
});

try {
  if (mode === 'hold') {
    // Takes the write lock and keeps it until its input ends. The listener holds the database: one that nothing refers to is closed by the garbage collector.
    const database = new SqliteDatabase(file);
    database.exec('BEGIN IMMEDIATE');
    say('held');
    process.stdin.resume().on('end', () => {
      database.close();
      process.exit(0);
    });
  } else if (mode === 'begin') {
    // A run that begins and never ends; the test kills this process.
    openHistory(file).begin(run('killed'));
    say('begun');
    await wait(60_000);
  } else if (mode === 'open') {
    const history = openHistory(file);
    const { total } = history.list({ sortBy: 'createdAt', descending: true, limit: 10, offset: 0 });
    let change: unknown = null;
    try {
      history.begin(run(`by-${process.pid}`));
    } catch (error) {
      change = error instanceof DBellError ? { code: error.code, message: error.message } : String(error);
    }
    say({ readOnlyReason: history.readOnlyReason, notices: history.notices, total, change });
    history.close();
  }
} catch (error) {
  if (!(error instanceof DBellError)) throw error;
  say({ code: error.code, message: error.message });
}
