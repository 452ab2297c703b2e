import { type Command, InvalidArgumentError } from 'commander';
import type { z } from 'zod';
import {
  type HubModel,
  type HubSearchResult,
  repositoryNameSchema,
  revisionSchema,
} from '../../contract/hub.ts';
import { limits } from '../../contract/limits.ts';
import type { AddCommand } from '../command.ts';
import { formatBytes, formatCount, formatCounted, formatParameters } from '../format.ts';
import { wholeNumber, withNetworkOptions, withOutputOptions } from '../options.ts';
import type { NetworkFlags, OutputOptions } from '../output.ts';
import { quoteForShell } from '../session.ts';
import { pairs, table } from '../table.ts';
import { problemLines } from './inspect.ts';

type Flags = OutputOptions & NetworkFlags;

function parsed(schema: z.ZodType<string>) {
  return (text: string): string => {
    const result = schema.safeParse(text);
    if (!result.success) throw new InvalidArgumentError(`It ${result.error.issues[0]?.message}.`);
    return result.data;
  };
}

const tokenNote = '\nA token for gated models is read from HF_TOKEN and sent to the server alone.';

export const searchCommand: AddCommand = (program, run) => {
  withOptions(
    program
      .command('search <query>')
      .description('look for models on the Hugging Face Hub')
      .option('--limit <count>', 'at most this many', wholeNumber(1, limits.hubSearchResults), 20),
  ).action((query: string, options: Flags & { limit: number }) =>
    run(options, async ({ client, output }) => {
      const found = await client.call('hub.search', { query, limit: options.limit });
      output.result(found, () => resultTable(found.models, query));
    }),
  );
};

function withOptions(command: Command): Command {
  return withOutputOptions(withNetworkOptions(command)).addHelpText('after', tokenNote);
}

function resultTable(models: HubSearchResult[], query: string): string {
  if (models.length === 0) return `Nothing is called "${query}".`;
  return table(
    [
      { title: 'name', maximumWidth: 38 },
      { title: 'licence', maximumWidth: 12 },
      { title: 'weights', align: 'right' },
      { title: 'parameters', align: 'right' },
      { title: 'note', maximumWidth: 18 },
    ],
    models.map((model) => [
      model.name,
      model.license ?? '-',
      model.weightBytes === null ? '-' : formatBytes(model.weightBytes),
      model.parameters === null ? '-' : formatParameters(model.parameters),
      [
        model.gated === 'no' ? null : 'gated',
        model.hasGguf ? 'GGUF' : null,
        model.supported === false && !model.hasGguf ? 'not supported' : null,
      ]
        .filter((note) => note !== null)
        .join(', '),
    ]),
  );
}

interface DownloadFlags extends Flags {
  file?: string;
  revision: string;
  show?: boolean;
}

export const downloadCommand: AddCommand = (program, run) => {
  withOptions(
    program
      .command('download')
      .argument('<name>', 'OWNER/NAME', parsed(repositoryNameSchema))
      .description('fetch a model from the Hugging Face Hub, or go on with it')
      .option('--file <path>', 'one GGUF file of the repository')
      .option('--revision <name>', 'branch, tag or commit', parsed(revisionSchema), 'main')
      .option('--show', 'only say what it is and what would be fetched'),
  ).action((name: string, options: DownloadFlags) =>
    run(options, async ({ client, output, followJob }) => {
      const { file, revision } = options;
      if (options.show) {
        const model = await client.call('hub.model', { name, revision });
        output.result(model, () => modelText(model));
        return;
      }
      const { jobId } = await client.call('hub.download', { name, revision, file });
      const result = await followJob(jobId, 'download');
      output.result(result, () =>
        [
          pairs([
            ['model', result.path],
            ['from', `${result.name} at ${result.commit.slice(0, 12)}`],
            ['licence', result.license ?? 'not stated'],
            [
              'size',
              `${formatBytes(result.bytes)} in ${formatCounted(result.files.length, 'file')}, each checked against its hash`,
            ],
            [
              'fetched',
              result.wasThere
                ? 'nothing; it was there already'
                : `${formatBytes(result.transferredBytes)} now`,
            ],
          ]),
          '',
          `Look at it with: npx dbell inspect ${quoteForShell(result.path)}`,
        ].join('\n'),
      );
    }),
  );
};

function modelText(model: HubModel): string {
  const supported =
    model.supported === null ? 'not known before the download' : model.supported ? 'yes' : 'no';
  return pairs([
    ['name', model.name],
    ['commit', model.commit],
    ['licence', model.license ?? 'not stated'],
    [
      'access',
      { no: 'open', auto: 'after its licence was accepted', manual: 'after its author agreed' }[model.gated],
    ],
    ['family', model.modelType],
    ['supported', supported],
    ['parameters', model.parameters === null ? null : formatCount(model.parameters)],
    [
      'to fetch',
      model.choices.length === 0
        ? 'nothing that can be used'
        : model.choices
            .map(({ file, bytes }) => `${formatBytes(bytes)}  ${file ?? 'Hugging Face folder'}`)
            .join('\n'),
    ],
    ['problems', model.problems.length === 0 ? null : problemLines(model.problems).join('\n')],
  ]);
}
