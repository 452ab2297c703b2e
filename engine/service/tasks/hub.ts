import { DBellError } from '../../contract/errors.ts';
import { connectionTo, type HubConnection } from '../../hub/connection.ts';
import { downloadModel } from '../../hub/download.ts';
import { TransientFailure } from '../../hub/failures.ts';
import { hubLimits, hubTimes } from '../../hub/limits.ts';
import { describeRepository, searchModels } from '../../hub/repository.ts';
import { DownloadStore } from '../../hub/store.ts';
import type { HubAccess } from '../network.ts';
import { remainingMsOf, type TaskControl, type TaskFunction } from './control.ts';

/** How often work that waits for the network looks whether it is to stop. */
const stopPollMs = 100;

export const hubSearchTask: TaskFunction<'hubSearch'> = async ({ access, query, limit }, control) => ({
  models: await withConnection(
    access,
    control,
    (connection) => searchModels(connection, query, limit),
    hubLimits.questionAttempts,
  ),
});

export const hubModelTask: TaskFunction<'hubModel'> = async ({ access, name, revision }, control) =>
  withConnection(
    access,
    control,
    async (connection) => (await describeRepository(connection, name, revision)).description,
    hubLimits.questionAttempts,
  );

export const hubDownloadTask: TaskFunction<'hubDownload'> = async (
  { access, input, folder, storeFile },
  control,
) => {
  const store = new DownloadStore(storeFile);
  let startedAt: number | null = null;
  try {
    return await withConnection(access, control, (connection) =>
      downloadModel(connection, input, {
        folder,
        store,
        border: () => control.border(),
        onMessage: (message) => control.report({ type: 'message', level: 'warning', message }),
        onProgress({ stage, file, bytesDone, bytesTotal, bytesTransferred }) {
          startedAt ??= bytesTransferred > 0 ? performance.now() : null;
          const isKnown = bytesTotal > 0;
          // Bytes that were here already took no time; the rate is that of those that came now.
          const wanted = bytesTotal - (bytesDone - bytesTransferred);
          control.progress({
            task: 'download',
            stage,
            fraction: isKnown ? bytesDone / bytesTotal : null,
            step: file && { index: file.index, count: file.count, unit: 'file' },
            item: file?.name ?? input.name,
            bytes: isKnown ? { done: bytesDone, total: bytesTotal } : undefined,
            relativeError: null,
            remainingMs:
              startedAt === null || wanted <= 0
                ? null
                : remainingMsOf(performance.now() - startedAt, bytesTransferred / wanted),
          });
        },
      }),
    );
  } finally {
    store.close();
  }
};

async function withConnection<T>(
  { endpoint, token }: HubAccess,
  control: TaskControl,
  work: (connection: HubConnection) => Promise<T>,
  attempts?: number,
): Promise<T> {
  const stop = new AbortController();
  const timer = setInterval(() => {
    if (control.stopRequested()) stop.abort();
  }, stopPollMs);
  try {
    return await work(connectionTo(endpoint, token, stop.signal, hubTimes, attempts));
  } catch (error) {
    if (error instanceof TransientFailure)
      throw new DBellError('network-error', error.message, { cause: error });
    throw error;
  } finally {
    clearInterval(timer);
  }
}
