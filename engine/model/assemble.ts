import type { Architecture } from './architecture.ts';
import type { ConfigReader } from './config-reader.ts';
import { type ExpectedTensor, expectedTensors } from './expected-tensors.ts';
import type { Family } from './families/family.ts';
import { type ProblemList, quote } from './problems.ts';
import { readableTypes, storedLayout } from './stored-types.ts';
import type { WeightLocation } from './weight-location.ts';
import { sameBytes } from './weights.ts';

/** Names listed in one message about missing or unused tensors. */
const MAX_LISTED_NAMES = 3;

/** What checkpoints store beside the weights and no computation reads. */
const ignorable = /rotary_emb\.inv_freq$|\.(masked_)?bias_mask$|\.masked_bias$/;

/**
 * Fits the stored tensors to the description: adds the prefix that checkpoints of the bare model leave out, decides about the head, and checks that
 * every weight is there with the shape that config.json implies. Problems are recorded; the result is null where the model cannot be used.
 */
export function assemble(
  family: Family,
  described: Architecture,
  reader: ConfigReader,
  stored: ReadonlyMap<string, WeightLocation>,
  problems: ProblemList,
): { architecture: Architecture; weights: Map<string, WeightLocation>; parameterCount: number } | null {
  const errorsBefore = problems.errorCount;
  const available = withPrefix(family, described, stored, problems);
  const architecture = decideHead(family, described, reader, available, problems);
  const weights = new Map<string, WeightLocation>();
  const missing: string[] = [];
  let parameterCount = 0;
  const expected = expectedTensors(architecture, family);
  for (const tensor of expected) {
    const location = available.get(tensor.name);
    if (location === undefined) missing.push(tensor.name);
    else if (checkTensor(tensor, location, reader.fileName, problems)) {
      weights.set(tensor.name, location);
      parameterCount += location.shape.reduce((product, size) => product * size, 1);
    }
  }
  if (missing.length > 0)
    problems.error(
      'tensor-missing',
      `${missing.length === 1 ? 'one tensor is' : `${missing.length} tensors are`} missing: ${list(missing)}`,
    );
  checkUnused(family, architecture, reader, expected, available, problems);
  if (problems.errorCount > errorsBefore) return null;
  return { architecture, weights, parameterCount };
}

function withPrefix(
  family: Family,
  described: Architecture,
  stored: ReadonlyMap<string, WeightLocation>,
  problems: ProblemList,
): Map<string, WeightLocation> {
  const prefix = family.optionalPrefix;
  const bare = described.embedding.table.slice(prefix.length);
  const isBare =
    described.embedding.table.startsWith(prefix) &&
    stored.has(bare) &&
    !stored.has(described.embedding.table);
  const available = new Map<string, WeightLocation>();
  for (const [name, location] of stored) {
    const full = isBare && name !== family.headWeight && !name.startsWith(prefix) ? prefix + name : name;
    if (available.has(full))
      problems.error('tensor-twice', `${quote(full)} is stored twice, with and without ${quote(prefix)}`);
    available.set(full, location);
  }
  return available;
}

/**
 * The head by what is stored, before what config.json says: a head of its own that differs from the embedding is used even where
 * tie_word_embeddings is true; without one the embedding serves, with a warning where the flag is false. A checkpoint that keeps the shared table
 * under the head's name alone is read the same way.
 */
function decideHead(
  family: Family,
  described: Architecture,
  reader: ConfigReader,
  available: Map<string, WeightLocation>,
  problems: ProblemList,
): Architecture {
  const table = described.embedding.table;
  const flag = reader.has('tie_word_embeddings') ? reader.boolean('tie_word_embeddings', true) : null;
  const head = available.get(family.headWeight);
  const embedding = available.get(table);
  const separate: Architecture = {
    ...described,
    head: { ...described.head, weight: family.headWeight, tied: false },
  };
  if (head === undefined) {
    if (flag === false)
      problems.warning(
        'head-tied',
        `tie_word_embeddings is false but ${family.headWeight} is not stored; the embedding is used as the head`,
      );
    return described;
  }
  if (embedding === undefined) {
    // The other way round only where nothing says that the two differ.
    if (flag === false) return separate;
    available.delete(family.headWeight);
    available.set(table, head);
    return described;
  }
  if (flag === false || (flag === null && !family.tieWordEmbeddingsDefault)) return separate;
  if (sameBytes(head, embedding)) {
    available.delete(family.headWeight);
    return described;
  }
  problems.warning(
    'head-separate',
    `${flag === null ? 'the family ties' : 'tie_word_embeddings is true: it ties'} head and embedding, but ${family.headWeight} is stored with other values; it is used`,
  );
  return separate;
}

function checkTensor(
  expected: ExpectedTensor,
  location: WeightLocation,
  fileName: string,
  problems: ProblemList,
): boolean {
  const wanted = expected.dimensions.map((dimension) => dimension.size);
  if (location.shape.join() !== wanted.join()) {
    const differing = expected.dimensions.filter(
      (dimension, axis) => location.shape.length !== wanted.length || location.shape[axis] !== dimension.size,
    );
    problems.error(
      'tensor-shape',
      `${expected.label}: ${expected.part} is [${location.shape.join(', ')}] but ${fileName} implies [${wanted.join(', ')}] (${differing.map((d) => d.because).join(', ')}); the weights belong to another model`,
    );
    return false;
  }
  if (location.ternary === undefined && storedLayout(location.storedType) === null) {
    problems.error(
      'unsupported-type',
      `${expected.label}: ${expected.part} is stored as ${location.storedType}; weights can be read from ${readableTypes.join(', ')}`,
    );
    return false;
  }
  return true;
}

/** Tensors that the description has no place for: refused where they would change the result, else named in a warning. */
function checkUnused(
  family: Family,
  architecture: Architecture,
  reader: ConfigReader,
  expected: readonly ExpectedTensor[],
  available: ReadonlyMap<string, WeightLocation>,
  problems: ProblemList,
): void {
  const known = new Set(expected.map((tensor) => tensor.name));
  const modules = new Set(expected.map((tensor) => tensor.name.replace(/\.[^.]*$/, '')));
  const unused = [...available.keys()].filter((name) => !known.has(name) && !ignorable.test(name));
  const layerOf = (name: string) => Number(/\.layers\.(\d+)\./.exec(name)?.[1] ?? -1);
  const beyond = unused.filter((name) => layerOf(name) >= architecture.blocks.length);
  if (beyond.length > 0)
    problems.error(
      'tensor-extra',
      `${reader.fileName} says num_hidden_layers ${architecture.blocks.length} but tensors with layer index ${beyond.map(layerOf).reduce((a, b) => Math.max(a, b))} are stored; the weights belong to another model`,
    );
  const biases = unused.filter(
    (name) => !beyond.includes(name) && name.endsWith('.bias') && modules.has(name.replace(/\.bias$/, '')),
  );
  if (biases.length > 0)
    problems.error(
      'tensor-extra',
      `${quote(biases[0]!)}${biases.length > 1 ? ` and ${biases.length - 1} more biases are` : ' is'} stored but ${reader.fileName} describes a ${family.name} model without; the weights belong to another model`,
    );
  const rest = unused.filter((name) => !beyond.includes(name) && !biases.includes(name));
  if (rest.length > 0)
    problems.warning(
      'tensor-unused',
      `${rest.length === 1 ? 'one tensor is' : `${rest.length} tensors are`} not used: ${list(rest)}`,
    );
}

/** The first few names of a list, quoted. */
function list(names: readonly string[]): string {
  return `${names.slice(0, MAX_LISTED_NAMES).map(quote).join(', ')}${names.length > MAX_LISTED_NAMES ? ', …' : ''}`;
}
