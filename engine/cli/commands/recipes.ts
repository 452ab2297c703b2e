import type { AddCommand } from '../command.ts';
import { withOutputOptions } from '../options.ts';
import { pairs, wrap } from '../table.ts';

/** What 80 columns leave beside the names. */
const summaryWidth = 56;

export const recipesCommand: AddCommand = (program, run) => {
  withOutputOptions(program.command('recipes').description('list the recipes that quantize can follow'))
    .addHelpText('after', '\n--json gives every field of each recipe, named as --set of quantize takes it.')
    .action((options) =>
      run(options, async ({ client, output }) => {
        const { recipes } = await client.call('recipes', {});
        output.result({ recipes }, () =>
          pairs(recipes.map(({ name, summary }) => [name, wrap(summary, summaryWidth)])),
        );
      }),
    );
};
