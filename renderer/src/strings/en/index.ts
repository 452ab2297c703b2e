import { appStrings } from './app.ts';
import { chartStrings } from './charts.ts';
import { hubStrings } from './hub.ts';
import { measurementStrings } from './measurements.ts';
import { runStrings } from './runs.ts';
import { wizardStrings } from './wizard.ts';

/** The English catalogue. Sentences are plain and short; a text with values in it is a function of them. */
export const english = {
  ...appStrings,
  ...chartStrings,
  ...hubStrings,
  ...measurementStrings,
  ...runStrings,
  ...wizardStrings,
};
