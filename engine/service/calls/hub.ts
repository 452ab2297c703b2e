import { existsSync } from 'node:fs';
import type { ParsedCallInput } from '../../contract/calls.ts';
import { downloadSubject } from '../../contract/hub.ts';
import { bytesOfFiles } from '../../hub/repository-file.ts';
import { DownloadStore } from '../../hub/store.ts';
import { bytesOnDisk, discardDownload, unfinishedDownloads } from '../../hub/unfinished.ts';
import { downloadsFile, modelsFolderOf } from '../home.ts';
import { readOnlySubject } from '../jobs/job.ts';
import type { JobDefinitions } from '../jobs/job-requests.ts';
import { openRecentModels } from '../recent-models.ts';
import type { HandlerContext, Handlers, JobsContext } from './handlers.ts';

type HubCall = Extract<keyof Handlers, `hub.${string}`>;

export function hubJobs({ home, network, settings }: JobsContext): Pick<JobDefinitions, 'hub.download'> {
  const recent = openRecentModels(home);
  const folder = () => modelsFolderOf(home, settings.get().modelsFolder);
  return {
    'hub.download': (input) => {
      // Refused at once, not when its turn comes.
      network.access();
      return {
        kind: 'download',
        runId: null,
        lane: 'transfer',
        tasks: ['download'],
        subject: { ...readOnlySubject(downloadSubject(input.name, input.file)), output: folder() },
        async run({ runTask }) {
          const result = await runTask('hubDownload', {
            access: network.access(),
            input,
            folder: folder(),
            storeFile: downloadsFile(home),
          });
          // What comes from a Hub has a name that says what it is.
          recent.remember(result.path, /\.gguf$/i.test(result.path) ? 'gguf' : 'huggingface');
          return result;
        },
      };
    },
  };
}

/** Whether this download has begun and is listed as an unfinished one. */
export function isUnfinishedDownload(home: string, { name, file }: ParsedCallInput<'hub.download'>): boolean {
  const storeFile = downloadsFile(home);
  if (!existsSync(storeFile)) return false;
  const store = new DownloadStore(storeFile);
  try {
    return unfinishedDownloads(store).some((known) => known.name === name && known.file === (file ?? null));
  } finally {
    store.close();
  }
}

export function hubHandlers(context: HandlerContext): Pick<Handlers, HubCall> {
  const { home, network, queue, settings, startJob } = context;
  const folder = () => modelsFolderOf(home, settings.get().modelsFolder);
  const withStore = async <T>(work: (store: DownloadStore) => T | Promise<T>): Promise<T> => {
    const store = new DownloadStore(downloadsFile(home));
    try {
      return await work(store);
    } finally {
      store.close();
    }
  };
  return {
    'hub.status': () => ({
      network: network.isAllowed(),
      endpoint: network.endpoint(),
      token: network.tokenSource(),
      folder: folder(),
    }),
    'hub.token': ({ token }) => {
      network.setToken(token);
      return {};
    },
    'hub.search': async (input) => network.ask('hubSearch', input),
    'hub.model': async (input) => network.ask('hubModel', input),
    'hub.download': (input) => {
      // Whether or not it is under way.
      network.access();
      const subject = downloadSubject(input.name, input.file);
      // Asked for twice, by a second click or window, it is the one download.
      const same = queue
        .list()
        .find(
          (job) =>
            job.kind === 'download' &&
            job.state !== 'stopping' &&
            job.endedAt === null &&
            job.subject.models.includes(subject),
        );
      if (same) return { jobId: same.jobId };
      return { jobId: startJob('hub.download', input).jobId };
    },
    'hub.unfinished': () =>
      withStore((store) => ({
        downloads: unfinishedDownloads(store).map((download) => ({
          path: download.path,
          name: download.name,
          revision: download.revision,
          file: download.file,
          bytesDone: bytesOnDisk(download),
          bytesTotal: bytesOfFiles(download.files),
          updatedAt: download.updatedAt,
        })),
      })),
    'hub.discard': ({ path }) =>
      withStore(async (store) => {
        await discardDownload(store, path);
        return {};
      }),
  };
}
