import type { Architecture, Norm } from './architecture.ts';
import type { Family } from './families/family.ts';

/** One dimension as config.json implies it, with the fields that say so. */
export interface ExpectedDimension {
  size: number;
  because: string;
}

export interface ExpectedTensor {
  name: string;
  /** How messages call it: `layer 3 q_proj`. */
  label: string;
  part: 'weight' | 'bias';
  dimensions: ExpectedDimension[];
}

/** Every tensor that the architecture needs, the head's own only where it is not tied. */
export function expectedTensors(architecture: Architecture, family: Family): ExpectedTensor[] {
  const a = architecture;
  const hidden = { size: a.hiddenSize, because: `hidden_size ${a.hiddenSize}` };
  const intermediate = {
    size: a.intermediateSize,
    because: `${family.fields.intermediateSize} ${a.intermediateSize}`,
  };
  const vocabulary = { size: a.vocabularySize, because: `vocab_size ${a.vocabularySize}` };
  const headDimension = { size: a.headDimension, because: `head_dim ${a.headDimension}` };
  const query = {
    size: a.headCount * a.headDimension,
    because: `num_attention_heads ${a.headCount} × head_dim ${a.headDimension}`,
  };
  const keyValue = {
    size: a.keyValueHeadCount * a.headDimension,
    because: `num_key_value_heads ${a.keyValueHeadCount} × head_dim ${a.headDimension}`,
  };
  const embedding =
    a.embedding.embeddingSize === a.hiddenSize
      ? hidden
      : {
          size: a.embedding.embeddingSize,
          because: `word_embed_proj_dim ${a.embedding.embeddingSize}`,
        };
  const outOf = {
    q: query,
    k: keyValue,
    v: keyValue,
    o: hidden,
    gate: intermediate,
    up: intermediate,
    down: hidden,
  };
  const inOf = { q: hidden, k: hidden, v: hidden, o: query, gate: hidden, up: hidden, down: intermediate };

  const expected: ExpectedTensor[] = [];
  const add = (
    name: string | null,
    label: string,
    part: 'weight' | 'bias',
    ...dimensions: ExpectedDimension[]
  ) => {
    if (name !== null) expected.push({ name, label, part, dimensions });
  };
  const addNorm = (norm: Norm | null, label: string, dimension: ExpectedDimension) => {
    if (norm === null) return;
    add(norm.weight, label, 'weight', dimension);
    add(norm.bias, label, 'bias', dimension);
  };

  add(a.embedding.table, 'embedding', 'weight', vocabulary, embedding);
  add(a.embedding.projectIn, 'project_in', 'weight', hidden, embedding);
  add(a.embedding.projectOut, 'project_out', 'weight', embedding, hidden);
  if (a.position.kind === 'learned')
    add(
      a.position.table,
      'position embedding',
      'weight',
      {
        size: a.contextLength + a.position.offset,
        because: `${family.fields.contextLength} ${a.contextLength} + ${a.position.offset}`,
      },
      hidden,
    );
  for (const block of a.blocks) {
    const labelOf = (name: string) => `layer ${block.index} ${name.split('.').at(-1)}`;
    const normLabel = (norm: Norm | null) =>
      labelOf((norm?.weight ?? norm?.bias ?? '').replace(/\.[^.]*$/, ''));
    addNorm(block.attentionNorm, normLabel(block.attentionNorm), hidden);
    addNorm(block.queryNorm, normLabel(block.queryNorm), headDimension);
    addNorm(block.keyNorm, normLabel(block.keyNorm), headDimension);
    addNorm(block.mlpNorm, normLabel(block.mlpNorm), hidden);
    addNorm(block.attentionSubNorm, normLabel(block.attentionSubNorm), query);
    addNorm(block.mlpSubNorm, normLabel(block.mlpSubNorm), intermediate);
    for (const stage of block.stages)
      for (const linear of stage.linears) {
        add(`${linear.name}.weight`, labelOf(linear.name), 'weight', outOf[linear.role], inOf[linear.role]);
        add(linear.bias, labelOf(linear.name), 'bias', outOf[linear.role]);
      }
  }
  addNorm(a.finalNorm, 'final norm', hidden);
  if (!a.head.tied) add(a.head.weight, 'head', 'weight', vocabulary, embedding);
  add(a.head.bias, 'head', 'bias', vocabulary);
  return expected;
}
