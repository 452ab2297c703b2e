import { openModel } from '../../model/open.ts';
import { channelWeights } from '../../package/channel-weights.ts';
import { openPackage } from '../../package/open.ts';
import type { TaskFunction } from './control.ts';

/** One row or column of a layer, before and after. */
export const channelWeightsTask: TaskFunction<'channelWeights'> = async (input) => {
  const opened = await openPackage(input.package, { checkValues: false });
  try {
    const source = await openModel(input.original);
    try {
      return channelWeights(opened, source, input);
    } finally {
      source.close();
    }
  } finally {
    opened.close();
  }
};
