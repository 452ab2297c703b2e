import type { AddCommand } from '../command.ts';
import { withOutputOptions } from '../options.ts';
import { table } from '../table.ts';

export const recipesCommand: AddCommand = (program, run) => {
  withOutputOptions(
    program.command('recipes').description('list the recipes that quantize can follow'),
  ).action((options) =>
    run(options, async ({ client, output }) => {
      const { recipes } = await client.call('recipes', {});
      output.result({ recipes }, () =>
        table(
          [{ title: 'RECIPE' }, { title: 'WHAT IT DOES', maximumWidth: 58 }],
          recipes.map(({ name, summary }) => [name, summary]),
        ),
      );
    }),
  );
};
